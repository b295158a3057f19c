"""Connecting to a host that was checked: its name is resolved once, every address must be open, and the connection goes
to one of those addresses. A name server that answers differently the next time (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache
from ssl import SSLContext
from typing import Any, Protocol

import httpcore2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from activities.tools.spec import ToolError
from activities.tools.web.addresses import Address, Allowed, objections, plain

EACH_SECONDS = 4.0
"""For one address of a host that has several; the last one gets all the time that is left."""
MAX_ADDRESSES = 4
"""How many addresses of a host are tried. All of them are checked."""
LOOKUPS = 32
"""Names that are looked up at the same time. A lookup cannot be interrupted, so a slow one outlives its call."""


class Connect(Protocol):
    """Opens a TCP connection to an address (never a name)."""

    def __call__(self, host: str, port: int, seconds: float | None) -> Awaitable[AsyncNetworkStream]: ...


Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""All addresses of a name, best first. Raises OSError."""

_looking_up = threading.BoundedSemaphore(LOOKUPS)


async def resolve(host: str) -> list[str]:
    """What the system's resolver says. Raises OSError.

    On a thread of its own: the loop's few threads are for files, and slow name servers must not hold them up.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def tell(addresses: list[str], error: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(addresses)

    def look_up() -> None:
        addresses: list[str] = []
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            _looking_up.release()
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, addresses, failure)

    if not _looking_up.acquire(blocking=False):
        raise OSError("too many names are being looked up at the moment")
    threading.Thread(target=look_up, name="lookup", daemon=True).start()
    return await answer


async def connect(host: str, port: int, seconds: float | None) -> AsyncNetworkStream:
    """A TCP connection. Raises httpcore2.ConnectError, ConnectTimeout."""
    return await httpcore2.AnyIOBackend().connect_tcp(host, port, timeout=seconds)


@cache
def trusted() -> SSLContext:
    """TLS that verifies certificates and names against the system's authorities."""
    return httpcore2.default_ssl_context()


class Checked(AsyncNetworkBackend):
    """The network as requests of tools see it. Raises ToolError ADDRESS_REFUSED, DNS_FAILED, UNREACHABLE, TIMEOUT."""

    def __init__(self, opened: Allowed, resolve: Resolve, connect: Connect) -> None:
        self._opened = opened
        self._resolve = resolve
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class says so
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                return await self._connected(await self._addresses(host), host, port)
        except TimeoutError as error:
            raise ToolError("TIMEOUT", f"{host} could not be connected to within {timeout:g} s") from error

    async def _addresses(self, host: str) -> list[Address]:
        """The addresses to try, all of them checked."""
        try:
            addresses = [plain(host)]
        except ValueError:
            addresses = await self._resolved(host)
        if self._opened.name(host):
            return addresses
        refused = objections(addresses, self._opened)
        if refused:
            address, why = refused[0]
            place = (
                f"{address} is {why}" if str(address) == host else f"{host} has the address {address}, which is {why}"
            )
            told = f"{place}; only the public internet may be fetched from, and what the operator allows besides"
            raise ToolError("ADDRESS_REFUSED", told)
        return addresses[:MAX_ADDRESSES]

    async def _resolved(self, host: str) -> list[Address]:
        try:
            addresses = [plain(text) for text in await self._resolve(host)]
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ToolError("DNS_FAILED", f"the host {host} cannot be looked up: {reason}") from error
        if not addresses:
            raise ToolError("DNS_FAILED", f"the host {host} has no address")
        return addresses

    async def _connected(self, addresses: list[Address], host: str, port: int) -> AsyncNetworkStream:
        failure: Exception | None = None
        for number, address in enumerate(addresses, start=1):
            try:
                return await self._connect(str(address), port, None if number == len(addresses) else EACH_SECONDS)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        reason = str(failure) or "no connection"
        raise ToolError("UNREACHABLE", f"{host} cannot be connected to on port {port}: {reason}") from failure
