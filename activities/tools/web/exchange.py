"""One request and what came back: redirects followed one by one, each checked like the first; everything bounded.

What goes along to another origin (scheme, host or port) is only what gives nothing away: a model that sends a key to
one server has not agreed that the next one gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ssl import SSLContext

import httpcore2

from activities.tools.spec import ToolError
from activities.tools.web.addresses import Allowed
from activities.tools.web.body import Body, Ended
from activities.tools.web.connecting import Checked, Connect, Resolve, connect, resolve, trusted
from activities.tools.web.urls import Target, redirected

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset({"accept", "accept-language", "user-agent", "accept-encoding"})


@dataclass(frozen=True)
class Bounds:
    """What one fetch may take. `size`: bytes of the body, before and after decompression, each. `reading_seconds`: for
    making a page readable, once it is here."""

    size: int = 5 << 20
    redirects: int = 5
    connect_seconds: float = 10.0
    silence_seconds: float = 30.0
    total_seconds: float = 60.0
    reading_seconds: float = 10.0

    @property
    def timeouts(self) -> dict[str, float]:
        return {"connect": self.connect_seconds, "read": self.silence_seconds, "write": self.silence_seconds}


@dataclass(frozen=True)
class Road:
    """The way to a server: how names are resolved, connections made and certificates verified, and what it may take."""

    resolve: Resolve = resolve
    connect: Connect = connect
    tls: Callable[[], SSLContext] = trusted
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True)
class Request:
    """What is sent. Header names are lower case."""

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @property
    def reads(self) -> bool:
        return self.method in ("GET", "HEAD")

    def wire(self, timeouts: dict[str, float]) -> httpcore2.Request:
        """As the HTTP client takes it: the host from the checked target, not from anywhere else."""
        length = [("content-length", str(len(self.body or b"")))] if not self.reads else []
        headers = [("host", self.target.authority), *self.headers, ("connection", "close"), *length]
        url = httpcore2.URL(
            scheme=self.target.scheme, host=self.target.host, port=self.target.port, target=self.target.path
        )
        encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        return httpcore2.Request(self.method, url, headers=encoded, content=self.body, extensions={"timeout": timeouts})


@dataclass(frozen=True)
class Head:
    """The beginning of an answer. Header names are lower case; of a name given twice the last counts."""

    target: Target
    status: int
    reason: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer. `ended` says whether `body` is all of it."""

    head: Head
    hops: tuple[Target, ...]
    body: bytes
    ended: Ended


class Exchange:
    """One fetch. `accept` sees the head before the body is read and may raise; `tell` hears what happens."""

    def __init__(self, road: Road, opened: Allowed, accept: Callable[[Head], None], tell: Callable[[str], None]):
        self._road = road
        self._network = Checked(opened, road.resolve, road.connect)
        self._accept = accept
        self._tell = tell
        self._hops: list[Target] = []
        self._head: Head | None = None
        self._body: Body | None = None

    async def run(self, request: Request) -> Reply:
        """Send it and read the answer.

        Raises ToolError: URL_REFUSED, ADDRESS_REFUSED, DNS_FAILED, UNREACHABLE, TIMEOUT, TOO_MANY_REDIRECTS,
        REDIRECT_REFUSED, BROKEN_RESPONSE, and what `accept` raises. A body that is cut is no error here.
        """
        try:
            async with asyncio.timeout(self._road.bounds.total_seconds):
                return await self._followed(request)
        except TimeoutError as error:
            if self._head is None or self._body is None:
                seconds = self._road.bounds.total_seconds
                raise ToolError("TIMEOUT", f"{request.target.host} gave no answer within {seconds:g} s") from error
            return self._reply(self._head, self._body, "too slow")
        except ToolError as error:
            if not self._hops:
                raise
            raise ToolError(error.code, f"redirected by {self._hops[-1]}: {error.message}") from error

    async def _followed(self, request: Request) -> Reply:
        while True:
            async with self._answer(request) as answer:
                head = _head(request.target, answer)
                self._tell(f"{request.method} {request.target} -> {head.status}\n")
                location = head.headers.get("location")
                if head.status not in _REDIRECTS or location is None:
                    self._accept(head)
                    return await self._read(head, answer)
            self._hops.append(request.target)
            if len(self._hops) > self._road.bounds.redirects:
                told = f"there were more than {self._road.bounds.redirects} redirects, the last to {location[:500]}"
                raise ToolError("TOO_MANY_REDIRECTS", told)
            request = next_request(request, head.status, location)

    async def _read(self, head: Head, answer: httpcore2.Response) -> Reply:
        self._head = head
        self._body = body = Body(self._road.bounds.size, head.headers.get("content-encoding", ""))
        try:
            async for chunk in answer.aiter_stream():
                if not body.add(chunk):
                    return self._reply(head, body, "too large")
        except (httpcore2.NetworkError, httpcore2.ProtocolError):
            return self._reply(head, body, "broken off")
        except httpcore2.TimeoutException:
            return self._reply(head, body, "too slow")
        return self._reply(head, body, "whole" if body.finished else "broken off")

    def _reply(self, head: Head, body: Body, ended: Ended) -> Reply:
        return Reply(head, tuple(self._hops), body.content(), ended)

    @asynccontextmanager
    async def _answer(self, request: Request) -> AsyncIterator[httpcore2.Response]:
        """The answer's head; connection and all are closed at the end."""
        tls = self._road.tls() if request.target.scheme == "https" else None
        async with httpcore2.AsyncConnectionPool(tls, max_connections=1, network_backend=self._network) as pool:
            try:
                answer = await pool.handle_async_request(request.wire(self._road.bounds.timeouts))
            except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
                raise _failure(error, request, self._road.bounds) from error
            try:
                yield answer
            finally:
                await answer.aclose()


def next_request(request: Request, status: int, location: str) -> Request:
    """What a redirect asks for (RFC 9110 §15.4, with the method changes that all browsers make).

    Raises ToolError URL_REFUSED, REDIRECT_REFUSED.
    """
    target = redirected(request.target, location)
    if (status == 303 and request.method != "HEAD") or (status in (301, 302) and request.method == "POST"):
        kept = tuple((name, value) for name, value in request.headers if not name.startswith("content-"))
        request = replace(request, method="GET", body=None, headers=kept)
    if target.origin == request.target.origin:
        return replace(request, target=target)
    if not request.reads:
        told = f"it asks to send this {request.method} to {target}; call web_fetch with that URL if that is meant"
        raise ToolError("REDIRECT_REFUSED", told)
    harmless = tuple((name, value) for name, value in request.headers if name in _HARMLESS)
    return replace(request, target=target, headers=harmless)


def _head(target: Target, answer: httpcore2.Response) -> Head:
    headers = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in answer.headers}
    reason = bytes(answer.extensions.get("reason_phrase", b"")).decode("latin-1")
    return Head(target, answer.status, reason, headers)


def _failure(error: Exception, request: Request, bounds: Bounds) -> ToolError:
    host = request.target.host
    unknown = "" if request.reads else "; whether it acted on the request is unknown"
    if isinstance(error, httpcore2.ConnectTimeout):
        return ToolError("TIMEOUT", f"no TLS connection to {host} within {bounds.connect_seconds:g} s")
    if isinstance(error, httpcore2.ConnectError):
        return ToolError("UNREACHABLE", f"no TLS connection to {host}: {error}")
    if isinstance(error, httpcore2.TimeoutException):
        return ToolError("TIMEOUT", f"{host} was silent for {bounds.silence_seconds:g} s{unknown}")
    return ToolError("BROKEN_RESPONSE", f"{host} did not answer in HTTP, or broke off: {error}{unknown}")
