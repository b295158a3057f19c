"""web_search: each provider as its documentation has it, over a real HTTP server on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from activities.catalog import Catalog
from activities.tools.spec import ToolContext, ToolError, call
from activities.tools.web.providers import PROVIDERS
from activities.tools.web_search import TOOL
from session.policy import SearchPolicy, SearchProvider, ToolPolicy
from tests.tools.web_room import Server, answer, redirect, serving

KEY = "key-that-nobody-may-see"
BRAVE = {
    "type": "search",
    "query": {"original": "temporal", "more_results_available": True},
    "web": {
        "type": "search",
        "results": [
            {
                "title": "Temporal &amp; friends",
                "url": "https://one.example/a",
                "description": "A <strong>durable</strong>\n platform",
                "page_age": "2026-01-01T00:00:00",
                "language": "en",
            },
            {"title": "Two", "url": "https://two.example/", "description": ""},
            {"title": "no address"},
        ],
    },
}
TAVILY = {
    "query": "temporal",
    "answer": None,
    "images": [],
    "results": [
        {
            "title": "Temporal & friends",
            "url": "https://one.example/a",
            "content": "A durable platform",
            "score": 0.98,
            "raw_content": None,
        },
        {"title": "Two", "url": "https://two.example/", "content": "", "score": 0.5},
    ],
    "response_time": "1.2",
    "request_id": "1",
}
SEARXNG = {
    "query": "temporal",
    "number_of_results": 0,
    "results": [
        {
            "url": "https://one.example/a",
            "title": "Temporal & friends",
            "content": "A durable platform",
            "engine": "x",
            "parsed_url": ["https", "one.example", "/a", "", "", ""],
        },
        {"url": "https://two.example/", "title": "Two", "content": None, "engine": "y"},
    ],
    "answers": [],
    "suggestions": [],
    "unresponsive_engines": [],
}
LISTED = "1. Temporal & friends\n   https://one.example/a\n   A durable platform\n\n2. Two\n   https://two.example/"
KINDS: dict[SearchProvider, tuple[str, dict[str, Any]]] = {
    "brave": ("/res/v1/web/search", BRAVE),
    "tavily": ("/search", TAVILY),
    "searxng": ("/search", SEARXNG),
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        made.answers = {path: answer(json.dumps(said), "application/json") for path, said in list(KINDS.values())[:2]}
        yield made


class Searches:
    """web_search with one provider, which is the server of the test."""

    def __init__(self, folder: Path, server: Server, provider: SearchProvider, path: str = "") -> None:
        self.policy = ToolPolicy(search=SearchPolicy(provider, KEY, server.url(path)))
        self.folder = folder

    async def says(self, **arguments: Any) -> str:
        context = ToolContext(self.folder, policy=self.policy)
        return (await call(TOOL, {"query": "temporal", **arguments}, context)).content

    async def refused(self) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.says()
        shown = f"{caught.value} {caught.value.content}"
        assert KEY not in shown
        return caught.value


@pytest.mark.parametrize("provider", KINDS)
async def test_results_are_a_numbered_list(tmp_path: Path, server: Server, provider: SearchProvider) -> None:
    path, said = KINDS[provider]
    server.answers = {path: answer(json.dumps(said), "application/json")}
    assert await Searches(tmp_path, server, provider).says() == LISTED
    assert await Searches(tmp_path, server, provider).says(maxResults=1) == LISTED.split("\n\n", maxsplit=1)[0]


async def test_brave_is_asked_as_its_documentation_says(tmp_path: Path, server: Server) -> None:
    await Searches(tmp_path, server, "brave").says(query="a b&c=d", maxResults=3)
    heard = server.heard[0]
    assert (heard.method, urlsplit(heard.path).path) == ("GET", "/res/v1/web/search")
    assert parse_qs(urlsplit(heard.path).query) == {"q": ["a b&c=d"], "count": ["3"]}
    assert heard.headers["x-subscription-token"] == KEY and KEY not in heard.path


async def test_tavily_is_asked_as_its_documentation_says(tmp_path: Path, server: Server) -> None:
    await Searches(tmp_path, server, "tavily").says(query="日本", maxResults=3)
    heard = server.heard[0]
    assert (heard.method, heard.path) == ("POST", "/search")
    assert json.loads(heard.body) == {"query": "日本", "max_results": 3}
    assert heard.headers["authorization"] == f"Bearer {KEY}" and heard.headers["content-type"] == "application/json"


async def test_searxng_is_asked_as_its_documentation_says(tmp_path: Path, server: Server) -> None:
    server.answers = {"/searx/search": answer(json.dumps(SEARXNG), "application/json")}
    await Searches(tmp_path, server, "searxng", "/searx/search?language=de").says()
    heard = server.heard[0]
    assert parse_qs(urlsplit(heard.path).query) == {"language": ["de"], "q": ["temporal"], "format": ["json"]}
    assert heard.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("said", [{"web": {"results": []}}, {"query": {}, "mixed": {}}])
async def test_nothing_found_is_no_error(tmp_path: Path, server: Server, said: dict[str, Any]) -> None:
    server.answers = {"/res/v1/web/search": answer(json.dumps(said), "application/json")}
    assert await Searches(tmp_path, server, "brave").says() == "[nothing was found]"


@pytest.mark.parametrize(
    ("provider", "status", "code", "said"),
    [
        ("brave", "401 Unauthorized", "SEARCH_REFUSED", "PERDURE_SEARCH_KEY"),
        ("tavily", "401 Unauthorized", "SEARCH_REFUSED", "PERDURE_SEARCH_KEY"),
        ("searxng", "403 Forbidden", "SEARCH_REFUSED", "search.formats"),
        ("brave", "429 Too Many Requests", "RATE_LIMITED", "in 7 s"),
        ("tavily", "432 Plan Limit", "RATE_LIMITED", "tavily"),
        ("brave", "422 Unprocessable Entity", "SEARCH_FAILED", "422"),
        ("tavily", "500 Internal Server Error", "SEARCH_FAILED", "500"),
    ],
)
async def test_an_error_of_the_provider_is_told_without_the_key(
    tmp_path: Path, server: Server, provider: SearchProvider, status: str, code: str, said: str
) -> None:
    body = json.dumps({"detail": {"error": f"invalid key {KEY}"}})
    server.answers = {KINDS[provider][0]: answer(body, "application/json", status, retry_after="7")}
    error = await Searches(tmp_path, server, provider).refused()
    assert error.code == code and said in error.message


@pytest.mark.parametrize(
    "said",
    [
        answer("<html>", "text/html"),
        answer("[]", "application/json"),
        answer('{"web": {"results": 5}}', "application/json"),
        answer('{"web": 5}', "application/json"),
        answer("[" * 100_000, "application/json"),
        answer("{}", content_length="100"),
        answer(b"xx", content_encoding="br"),
        redirect("/elsewhere?key=" + KEY),
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_told_without_being_shown(tmp_path: Path, server: Server, said: bytes) -> None:
    server.answers = {"/res/v1/web/search": said}
    assert (await Searches(tmp_path, server, "brave").refused()).code == "SEARCH_FAILED"


async def test_a_provider_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with serving() as gone:
        searches = Searches(tmp_path, gone, "tavily")
    assert (await searches.refused()).code == "UNREACHABLE"


@pytest.mark.parametrize("key", ["ключ", "a\r\nb: c"])
async def test_a_key_that_cannot_be_sent_is_not_shown(tmp_path: Path, server: Server, key: str) -> None:
    policy = ToolPolicy(search=SearchPolicy("brave", key, server.url()))
    with pytest.raises(ToolError) as caught:
        await call(TOOL, {"query": "x"}, ToolContext(tmp_path, policy=policy))
    assert caught.value.code == "SEARCH_FAILED" and key not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"query": ""}, {"query": "x" * 401}, {"maxResults": 0}, {"maxResults": 21}])
async def test_arguments_out_of_bounds_are_refused(tmp_path: Path, server: Server, arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolError) as caught:
        await Searches(tmp_path, server, "brave").says(**arguments)
    assert caught.value.code == "INVALID_ARGUMENTS"


async def test_the_tool_is_offered_only_where_a_provider_is_set(tmp_path: Path) -> None:
    assert Catalog(ToolPolicy()).spec("web_search") is None
    assert Catalog(ToolPolicy(search=SearchPolicy("brave", KEY))).spec("web_search") is TOOL
    with pytest.raises(ToolError) as caught:
        await call(TOOL, {"query": "x"}, ToolContext(tmp_path))
    assert caught.value.code == "NOT_CONFIGURED"


def test_providers_have_addresses_of_their_own_unless_the_operator_names_another() -> None:
    assert PROVIDERS["brave"].endpoint("") == "https://api.search.brave.com/res/v1/web/search"
    assert PROVIDERS["tavily"].endpoint("") == "https://api.tavily.com/search"
    assert PROVIDERS["searxng"].endpoint("https://searx.example/") == "https://searx.example/search"
    assert PROVIDERS["tavily"].endpoint("https://gateway.example/t") == "https://gateway.example/t"
