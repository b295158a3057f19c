"""What web_fetch sends, and where: methods, headers, bodies, and all of them across redirects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tools.web_room import Server, Web, answer, redirect, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


@pytest.fixture
def web(tmp_path: Path) -> Web:
    made = Web(tmp_path)
    made.allow = ("127.0.0.1",)
    return made


async def test_redirects_are_followed_and_the_last_place_is_named(web: Web, server: Server) -> None:
    server.answers = {
        "/": redirect("/a b/b?q=ü"),
        "/a%20b/b": redirect("c#part", "301 Moved Permanently"),
        "/a%20b/c": redirect("../c", "308 Permanent Redirect"),
        "/c": answer("the end"),
    }
    said = await web.says(server.url())
    assert f"{server.url('/c')} (redirected from {server.url('/')})" in said and "the end" in said
    assert (
        web.progress[0] == f"GET {server.url('/')} -> 302\n" and web.progress[-1] == f"GET {server.url('/c')} -> 200\n"
    )


async def test_redirects_that_lead_nowhere_end(web: Web, server: Server) -> None:
    server.answers = {"/": redirect("/b"), "/b": redirect("/")}
    assert (await web.refused(server.url())).code == "TOO_MANY_REDIRECTS"
    assert len(server.heard) == 6


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        ("301 Moved Permanently", "POST", ("GET", b"")),
        ("302 Found", "POST", ("GET", b"")),
        ("303 See Other", "PUT", ("GET", b"")),
        ("307 Temporary Redirect", "POST", ("POST", b"hello")),
        ("308 Permanent Redirect", "PATCH", ("PATCH", b"hello")),
        ("302 Found", "PUT", ("PUT", b"hello")),
    ],
)
async def test_a_redirect_changes_the_method_as_browsers_change_it(
    web: Web, server: Server, status: str, method: str, then: tuple[str, bytes]
) -> None:
    server.answers = {"/": redirect("/next", status), "/next": answer("done")}
    await web.says(server.url(), method=method, body="hello")
    assert (server.heard[1].method, server.heard[1].body) == then
    assert ("content-type" in server.heard[1].headers) == (then[0] != "GET")


SENT = {"Authorization": "Bearer key", "Cookie": "a=b", "X-Api-Key": "key", "Accept-Language": "de"}


async def test_secrets_in_headers_stay_with_the_origin_they_were_meant_for(web: Web, server: Server) -> None:
    async with serving() as other:
        server.answers = {"/": redirect("/same"), "/same": redirect(other.url())}
        other.answers = {"/": redirect(server.url("/back"))}
        server.answers["/back"] = answer("and back")
        assert "and back" in await web.says(server.url(), headers=SENT)
        kept = [{name for name in SENT if name.lower() in heard.headers} for heard in (*server.heard, *other.heard)]
        assert kept == [set(SENT), set(SENT), {"Accept-Language"}, {"Accept-Language"}]


async def test_a_body_is_not_sent_on_to_another_origin(web: Web, server: Server) -> None:
    async with serving() as other:
        server.answers = {"/": redirect(other.url("/x"), "307 Temporary Redirect")}
        error = await web.refused(server.url(), method="POST", body="for you only")
        assert error.code == "REDIRECT_REFUSED" and other.url("/x") in error.message
        assert other.heard == []


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        ('{"a": 1}', {}, "application/json"),
        ("a=1", {}, "text/plain; charset=utf-8"),
        ("a=1", {"Content-Type": "application/x-www-form-urlencoded"}, "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_is_sent_with_its_type(
    web: Web, server: Server, body: str, headers: dict[str, str], kind: str
) -> None:
    server.answers = {"/": answer("", status="201 Created", location="/new/1")}
    said = await web.says(server.url(), method="post", body=body, headers=headers)
    assert said == f"201 Created · text/plain · {server.url()} · location: /new/1\n[no content]"
    heard = server.heard[0]
    assert (heard.method, heard.body, heard.headers["content-type"]) == ("POST", body.encode(), kind)


async def test_a_post_without_a_body_says_that_it_has_none(web: Web, server: Server) -> None:
    server.answers = {"/": answer("ok")}
    await web.says(server.url(), method="DELETE")
    assert server.heard[0].headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"headers": {"Host": "10.0.0.1"}}, "Host may not be set"),
        ({"headers": {"content-length": "5"}}, "content-length may not be set"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "Transfer-Encoding may not be set"),
        ({"headers": {"Connection": "upgrade"}}, "Connection may not be set"),
        ({"headers": {"Proxy-Authorization": "x"}}, "Proxy-Authorization may not be set"),
        ({"headers": {"X-HTTP-Method-Override": "DELETE"}}, "X-HTTP-Method-Override may not be set: use `method`"),
        ({"headers": {"X-A": "b\r\nX-C: d"}}, "X-A"),
        ({"headers": {"X-A": "b\nc"}}, "X-A"),
        ({"headers": {"X-A: b\r\nX-C": "d"}}, "no name of a header"),
        ({"headers": {"": "d"}}, "no name of a header"),
        ({"headers": {"X-A": "日本"}}, "X-A"),
        ({"headers": {"a": "1", "A": "2"}}, "given twice"),
        ({"headers": {"a": "b" * 20_000}}, "16,000 characters"),
        ({"headers": {f"a{n}": "" for n in range(51)}}, "at most 50"),
        ({"method": "CONNECT"}, "`method`"),
        ({"method": "TRACE"}, "`method`"),
        ({"body": "x"}, "a GET has no body"),
        ({"method": "HEAD", "body": "x"}, "a HEAD has no body"),
        ({"timeout": 5}, "`timeout` is not an argument"),
    ],
)
async def test_what_may_not_be_sent_is_refused_by_name(
    web: Web, server: Server, arguments: dict[str, object], named: str
) -> None:
    error = await web.refused(server.url(), **arguments)
    assert error.code == "INVALID_ARGUMENTS" and named in error.message
    assert web.network.connected == []


async def test_no_cookie_is_kept_from_one_call_to_the_next(web: Web, server: Server) -> None:
    server.answers = {"/": redirect("/in").replace(b"\r\n\r\n", b"\r\nset-cookie: a=b\r\n\r\n", 1), "/in": answer("in")}
    await web.says(server.url())
    await web.says(server.url())
    assert len(server.heard) == 4 and not any("cookie" in heard.headers for heard in server.heard)
