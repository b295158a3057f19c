"""The two ways to an MCP server: a process of ours over its standard input and output, or streamable HTTP.

A process has a keeper (`keeper.py`): it and all that it starts die with the connection, and with the worker, however
that ends. The SDK's own way of starting one leaves it to the end of its standard input when the worker is killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Final

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from activities.tools.environment import scrubbed
from session.mcp import HttpServer, StdioServer

KEEPER: Final = Path(__file__).with_name("keeper.py")
LARGEST_MESSAGE: Final = 16 << 20
"""Bytes of one message of a server. A process that sends a larger one is ended."""
PATIENCE: Final = 2.0
"""Seconds a process has to end when its standard input does."""
UNSENT: Final = -32991
BROKEN: Final = -32992
"""Codes of JSON-RPC errors of our own: a request that was not taken up, and one whose answer was cut off."""

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
Hear = Callable[[str], None]
"""Hears what a process writes to its standard error, and what of its output is no message; a line at a time."""


@asynccontextmanager
async def over_pipes(
    server: StdioServer, folder: Path, hear: Hear, ended: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Start a server and speak to it. `folder` is its HOME, and where it runs unless it has a `cwd`; made when missing.
    `ended` is called when it says no more. Raises OSError."""
    incoming, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    # Some room, so that a cancel notification need not wait for a process that does not read.
    write_stream, outgoing = anyio.create_memory_object_stream[SessionMessage](64)
    with ExitStack() as held:
        for stream in (incoming, read_stream, write_stream, outgoing):
            held.callback(stream.close)
        opener, process = await _started(server, folder, held)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_listen, process, incoming, hear, ended)
                tasks.start_soon(_speak, process, outgoing, incoming)
                tasks.start_soon(_overhear, process, hear)
                yield read_stream, write_stream
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _stopped(process, opener)


async def _started(server: StdioServer, folder: Path, held: ExitStack) -> tuple[FileIO, Process]:
    """The end of a pipe whose closing ends the process, and its keeper."""
    command, environment, place = _prepared(server, folder)
    with ExitStack() as handed_on:
        gate, other = os.pipe()
        handed_on.callback(os.close, gate)
        opener = held.enter_context(FileIO(other, "w"))
        inside = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        handed_on.callback(os.close, inside)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(KEEPER), str(gate), str(inside), command, *server.args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
            limit=LARGEST_MESSAGE,
            pass_fds=(gate, inside),
            start_new_session=True,
        )
    return opener, process


def _prepared(server: StdioServer, folder: Path) -> tuple[str, dict[str, str], Path]:
    """The program, what it sees of the environment, and where it runs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = scrubbed(folder) | {name: value.get_secret_value() for name, value in server.env.items()}
    command = shutil.which(server.command, path=environment["PATH"])
    if command is None:
        raise FileNotFoundError(f"there is no command {server.command}")
    return command, environment, Path(server.cwd).expanduser() if server.cwd else folder


async def _listen(
    process: Process,
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    hear: Hear,
    ended: Callable[[], None],
) -> None:
    assert process.stdout is not None
    try:
        with incoming:
            while line := await process.stdout.readline():
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    hear(f"(on standard output, where messages belong) {line[:500].decode(errors='replace')}")
                    continue
                await incoming.send(SessionMessage(message))
    except ValueError:
        hear(f"(a message of more than {LARGEST_MESSAGE >> 20} MiB)")
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the other side of the stream is told by its closing
    finally:
        ended()


async def _speak(
    process: Process,
    outgoing: MemoryObjectReceiveStream[SessionMessage],
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    assert process.stdin is not None
    try:
        async for sent in outgoing:
            process.stdin.write(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        incoming.close()  # so that who waits for an answer learns of the end


async def _overhear(process: Process, hear: Hear) -> None:
    assert process.stderr is not None
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:
            continue  # one line of many MiB, without which the log is better off
        if not line:
            return
        hear(line[:2000].decode(errors="replace"))


async def _stopped(process: Process, opener: FileIO) -> None:
    """End the process in order, or by force; the keeper kills what it leaves behind."""
    assert process.stdin is not None
    process.stdin.close()
    drains = [asyncio.ensure_future(_drained(stream)) for stream in (process.stdout, process.stderr)]
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        opener.close()
    try:
        async with asyncio.timeout(2 * PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    finally:
        for drain in drains:
            drain.cancel()
        await asyncio.wait(drains)


async def _drained(stream: asyncio.StreamReader | None) -> None:
    """Read to the end: a process that is blocked on a full pipe cannot end in order."""
    while stream is not None and await stream.read(1 << 16):
        pass


@asynccontextmanager
async def over_http(server: HttpServer) -> AsyncIterator[Streams]:
    """Speak to a server elsewhere, which need not be there."""
    headers = {name: value.get_secret_value() for name, value in server.headers.items()}
    # The SDK's own limit for reading; it is silence that counts, and a stream of changes may be silent for long.
    limits = httpx2.Timeout(10, read=max(300, server.timeout + 30))
    async with httpx2.AsyncClient(headers=headers, timeout=limits, transport=_Answering()) as client:
        way = streamable_http_client(server.url, http_client=client, max_sse_event_size=LARGEST_MESSAGE)
        async with way as streams:
            yield streams  # type: ignore[misc]


class _Answering(httpx2.AsyncHTTPTransport):
    """Answers for a server that cannot be reached, or that was started anew and knows nothing of our session, with a
    JSON-RPC error that tells whether the request was taken up.

    An exception here would end the SDK's whole transport, and with it the calls of all other sessions.
    """

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await super().handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            code, told = UNSENT, f"it cannot be reached: {type(error).__name__}"
        except httpx2.TransportError as error:
            code, told = BROKEN, f"its answer was cut off: {type(error).__name__}"
        else:
            if response.status_code != 404 or MCP_SESSION_ID not in request.headers:
                return response
            await response.aclose()
            code, told = UNSENT, "it has forgotten the session"
        body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": told}}
        return httpx2.Response(502, json=body, request=request)
