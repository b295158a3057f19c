"""The connection to one MCP server, kept for as long as the worker lives.

One task holds it: connects, learns the server's tools, waits for its end, and connects again, at once where the
connection had lasted and ever later where it had not. All that the SDK opens (task groups, cancel scopes) is opened and
closed in that task; a call runs in a task of its own, so that no caller's cancellation reaches the connection.

    connecting ──▶ up ──▶ ended ──▶ resting ──▶ connecting …      (a call ends the resting)
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

import anyio
from mcp import Client, MCPError, types
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

from activities.mcp.failures import Lost, Refused, Unavailable, reason
from activities.mcp.listing import listed
from activities.mcp.transports import BROKEN, UNSENT

logger = logging.getLogger("perdure.mcp")

CONNECTING: Final = 30.0
"""Seconds to start, shake hands and list the tools."""
LISTING: Final = 10.0
LASTED: Final = 10.0
"""Seconds of being up after which a connection's end was no failure to connect."""
LONGEST_REST: Final = 60.0
CALL_WAITS: Final = 10.0
"""Seconds that a call waits for a connection."""
FAREWELL: Final = 1.0
"""Seconds a cancelled call has to tell the server of it."""
CLOSING: Final = 6.0

Open = Callable[[Callable[[], None]], AbstractAsyncContextManager[Any]]
"""Opens the transport, which calls what it is given when it has ended."""


class _Unsent(Exception):
    """The request did not get to the tool: the server was away, or knew nothing of the connection any more."""


class Connection:
    """`learned` is called with the server's tools each time they were listed.

    A tool that was learned stays known while the server is away: who calls it then is told so, or waits for its return.
    """

    def __init__(self, name: str, opened: Open, learned: Callable[[Sequence[types.Tool]], None]) -> None:
        self.name = name
        self.failure = "it has not been tried yet"
        self._opened = opened
        self._learned = learned
        self._client: Client | None = None
        self._missed = 0  # attempts in a row that did not come up
        self._short = 0  # connections in a row, those that did not come up included, that did not last
        self._since = math.inf
        self._ended = False
        self._stale = False
        self._closing = False
        self._news = asyncio.Event()  # the connection ended, or the tools changed
        self._wanted = asyncio.Event()  # a call ends the resting
        self._turn = asyncio.Event()  # up, or failed; a new one each time
        self._scope = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[types.CallToolResult]] = set()

    @property
    def up(self) -> bool:
        return self._client is not None

    def start(self) -> None:
        self._task = asyncio.create_task(self._hold(), name=f"MCP server {self.name}")

    async def tried(self) -> None:
        """Until it is up, or the first attempt has failed."""
        while not (self.up or self._missed):
            await self._turn.wait()

    async def close(self) -> None:
        """End it in order, within `CLOSING` seconds. Calls that are out are lost."""
        self._closing = True
        self._end(self._client)
        if not self.up:
            self._scope.cancel()
        self._wanted.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSING)
            self._task.cancel()
            await asyncio.wait({self._task, *self._calls}, timeout=CLOSING)

    async def call(self, tool: str, arguments: dict[str, Any], heard: Callable[[str], None]) -> types.CallToolResult:
        """Call a tool by the server's name of it. Cancelling this tells the server (`notifications/cancelled`).

        Raises Lost, Unavailable, Refused.
        """
        for _ in range(2):
            client = await self._connected()
            try:
                return await self._ask(client, tool, arguments, heard)
            except _Unsent as error:
                self.failure = str(error)
                self._end(client)
        raise Unavailable(self.failure)

    async def _connected(self) -> Client:
        before = self._missed
        with suppress(TimeoutError):
            async with asyncio.timeout(CALL_WAITS):
                while (self._client is None or self._ended) and self._missed <= before and not self._closing:
                    self._wanted.set()
                    await self._turn.wait()
        if self._client is None or self._ended:
            raise Unavailable(self.failure)
        return self._client

    async def _ask(
        self, client: Client, tool: str, arguments: dict[str, Any], heard: Callable[[str], None]
    ) -> types.CallToolResult:
        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}" if total is None else f"{progress:g}/{total:g}"
            heard(f"{message} ({share})\n" if message else f"{share}\n")

        asking = asyncio.create_task(client.call_tool(tool, arguments, progress_callback=progressed))
        self._calls.add(asking)
        asking.add_done_callback(self._over)
        try:
            await asyncio.wait({asking})
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking}, timeout=FAREWELL)
        try:
            return asking.result()
        except MCPError as error:
            raise self._judged(client, error) from error
        except (RuntimeError, ValueError) as error:
            logger.warning("MCP server %s: no valid answer of %s: %s", self.name, tool, type(error).__name__)
            raise Refused(f"the answer of {tool} does not keep to the tool's own description of it") from error

    def _over(self, asked: asyncio.Task[types.CallToolResult]) -> None:
        self._calls.discard(asked)
        if not asked.cancelled():
            asked.exception()  # of a call that was given up, nobody else asks for it

    def _judged(self, client: Client, error: MCPError) -> Exception:
        if error.code == UNSENT:
            return _Unsent(error.message)
        # The code is also what servers use for whatever they like.
        closed = error.message.startswith(("Connection closed", "SSE stream"))
        if error.code == BROKEN or (error.code == types.CONNECTION_CLOSED and (closed or self._gone(client))):
            self._end(client)
            return Lost()
        return Refused(error.message)

    async def _hold(self) -> None:
        while not self._closing:
            self._since = math.inf
            try:
                with anyio.CancelScope() as self._scope:
                    await self._one_connection()
                self.failure = "it has ended"
            except Exception as error:
                self.failure = reason(error)
            self._short = 0 if time.monotonic() - self._since > LASTED else self._short + 1
            self._missed += self._since == math.inf
            self._turned()
            if not self._closing:
                logger.warning("MCP server %s: no connection (%s)", self.name, self.failure)
                await self._rest()

    async def _one_connection(self) -> None:
        """Connect, and stay until the end."""
        self._ended = self._stale = False
        self._news.clear()
        self._wanted.clear()
        # Servers of before 2026 may not survive the newer protocol's first question: every other attempt is the older.
        mode = "legacy" if self._missed % 2 else "auto"
        client = Client(
            self._opened(lambda: self._end(None)),
            mode=mode,
            cache=None,
            message_handler=self._notified,
            client_info=types.Implementation(name="perdure", version="1"),
        )
        with anyio.fail_after(CONNECTING) as limit:
            async with client:
                tools = await listed(client)
                limit.deadline = math.inf
                self._learned(tools)
                logger.info("MCP server %s: connected, %d tools", self.name, len(tools))
                self._since = time.monotonic()
                self._client = client
                self._missed = 0
                self._turned()
                try:
                    await self._stay(client)
                finally:
                    self._client = None

    async def _stay(self, client: Client) -> None:
        """Until the end, learning the tools again when they have changed."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._subscribe, client)
            while not self._ended:
                await self._news.wait()
                self._news.clear()
                if self._stale and not self._ended:
                    self._stale = False
                    await self._learn(client)
            tasks.cancel_scope.cancel()

    async def _learn(self, client: Client) -> None:
        try:
            with anyio.fail_after(LISTING):
                self._learned(await listed(client))
        except (MCPError, TimeoutError, ValueError, RuntimeError) as error:
            logger.warning("MCP server %s: its changed tools were not learned (%s)", self.name, reason(error))

    async def _notified(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changed()

    async def _subscribe(self, client: Client) -> None:
        """From 2026 on, changes are told only to those who ask."""
        rest = 1.0
        told = client.server_capabilities.tools
        while told is not None and told.list_changed:
            try:
                async with client.listen(tools_list_changed=True) as subscription:
                    rest = 1.0
                    async for _ in subscription:
                        self._changed()
            except ListenNotSupportedError:
                return
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND:
                    return
            except (SubscriptionLost, TimeoutError):
                pass
            await anyio.sleep(rest)
            rest = min(2 * rest, LONGEST_REST)
            self._changed()  # what was missed in between is not told

    def _gone(self, client: Client) -> bool:
        return self._ended or client is not self._client

    def _changed(self) -> None:
        self._stale = True
        self._news.set()

    def _end(self, client: Client | None) -> None:
        """The connection has ended, or shall end; one that is over already is left alone."""
        if client is None or client is self._client:
            self._ended = True
            self._news.set()

    def _turned(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    async def _rest(self) -> None:
        if self._short == 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(min(2.0 ** min(self._short - 1, 10), LONGEST_REST)):
                await self._wanted.wait()
