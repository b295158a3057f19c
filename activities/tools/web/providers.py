"""The search providers: how each is asked, and where its answer has the results. Adding one: an entry in PROVIDERS.

Sources: Brave's Web Search API, Tavily's `POST /search`, and SearXNG's Search API, as their documentation has them.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from activities.tools.web.exchange import Request
from activities.tools.web.urls import target
from session.policy import SearchProvider

_TAG = re.compile(r"<[^<>]{1,200}>")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class Hit:
    """One result, in plain text on one line each."""

    title: str
    url: str
    snippet: str


@dataclass(frozen=True)
class Provider:
    """`url`: its own address, empty where everyone has their own. `path`: what is asked there, used where the
    operator's address has no path. `ask` takes address, key, query and number of results."""

    url: str
    path: str
    ask: Callable[[str, str, str, int], Request]
    found: Callable[[Any], Any]
    """The list of results in an answer, wherever that has it."""
    snippet: str

    def endpoint(self, given: str) -> str:
        """Where requests go: `given` with the provider's path, where it has none of its own."""
        base = given or self.url
        return base if re.match(r"https?://[^/]+/.", base) else base.rstrip("/") + self.path

    def hits(self, answer: Any) -> Iterator[Hit]:
        """The results of an answer. What has no address is left out. Raises ValueError when it is no such answer."""
        found = self.found(answer) if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise ValueError("no list of results")
        for each in found:
            if isinstance(each, Mapping) and (url := _line(each.get("url"), 2_000)):
                yield Hit(_line(each.get("title"), 300) or url, url, _line(each.get(self.snippet), 1_000))


def _line(value: object, most: int) -> str:
    text = value if isinstance(value, str) else ""
    text = _BLANKS.sub(" ", html.unescape(_TAG.sub("", text))).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def _with(url: str, **parameters: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _brave(url: str, key: str, query: str, count: int) -> Request:
    headers = (("accept", "application/json"), ("x-subscription-token", key))
    return Request("GET", target(_with(url, q=query, count=str(count))), headers)


def _tavily(url: str, key: str, query: str, count: int) -> Request:
    headers = (("content-type", "application/json"), ("authorization", f"Bearer {key}"))
    return Request("POST", target(url), headers, json.dumps({"query": query, "max_results": count}).encode())


def _searxng(url: str, key: str, query: str, _count: int) -> Request:
    headers = (("accept", "application/json"), *((("authorization", f"Bearer {key}"),) if key else ()))
    return Request("GET", target(_with(url, q=query, format="json")), headers)


PROVIDERS: Mapping[SearchProvider, Provider] = {
    "brave": Provider(
        url="https://api.search.brave.com",
        path="/res/v1/web/search",
        ask=_brave,
        # Without any web page there is no "web" at all.
        found=lambda answer: (answer.get("web") or {"results": []}).get("results"),
        snippet="description",
    ),
    "tavily": Provider(
        url="https://api.tavily.com",
        path="/search",
        ask=_tavily,
        found=lambda answer: answer.get("results"),
        snippet="content",
    ),
    # A SearXNG has no keys; one behind a gateway may want a bearer.
    "searxng": Provider(
        url="", path="/search", ask=_searxng, found=lambda answer: answer.get("results"), snippet="content"
    ),
}
