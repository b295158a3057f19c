"""The fake under uvicorn: in the running loop for tests, or as the main thing of its own process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from fake_model.app import create_app
from fake_model.rates import Rates
from fake_model.record import Log, Record
from fake_model.scripts import Script, Scripts

# Longer than clients keep idle connections, so that none is closed in the moment of its reuse.
KEEP_ALIVE_SECONDS = 300
_BACKLOG = 2048


class Running:
    """A fake that serves at `url`."""

    def __init__(self, url: str, scripts: Scripts, log: Log) -> None:
        self.url = url
        self._scripts = scripts
        self._log = log

    @property
    def requests(self) -> list[Record]:
        """The records so far, in the order of their requests; those without an outcome still run."""
        return self._log.records

    def bought(self) -> dict[str, dict[int, int]]:
        """Completed replies per session and turn: more than 1 was bought twice."""
        return self._log.bought()

    def add_script(self, script: Script) -> None:
        """Registers a script for `#script NAME`."""
        self._scripts.add(script)

    def clear(self) -> None:
        """Forgets the requests so far."""
        self._log.clear()


class _Server(uvicorn.Server):
    """Uvicorn that tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()


class _Guest(_Server):
    """A server inside somebody's loop: it leaves signals alone, and it stops at once instead of waiting in ticks."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config, started)
        self.stopped = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        await self.stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        while self.server_state.tasks or self.server_state.connections:
            await asyncio.sleep(0)


@asynccontextmanager
async def running(
    port: int = 0,
    *,
    scripts: Scripts | None = None,
    keep_bodies: bool = False,
    requests_per_second: float | None = None,
    window: int | None = None,
) -> AsyncIterator[Running]:
    """Serves on 127.0.0.1 in the current loop until the block ends; replies on their way are cut then."""
    scripts = scripts if scripts is not None else Scripts()
    log = Log(keep_bodies=keep_bodies)
    listener = _listen("127.0.0.1", port)
    started = asyncio.Event()
    server = _Guest(_config(scripts, log, Rates(requests_per_second), window), started.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await started.wait()
        yield Running(_url(listener), scripts, log)
    finally:
        server.stopped.set()
        await serving


def serve(
    host: str,
    port: int,
    tell: Callable[[str], None],
    *,
    keep_bodies: bool = False,
    requests_per_second: float | None = None,
    window: int | None = None,
) -> None:
    """Serves in this process until SIGINT or SIGTERM. `tell` gets the URL once connections are accepted."""
    listener = _listen(host, port)
    url = _url(listener)
    log, rates = Log(keep_bodies=keep_bodies), Rates(requests_per_second)
    config = _config(Scripts(), log, rates, window, log_level="critical")
    _Server(config, lambda: tell(url)).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _config(
    scripts: Scripts, log: Log, rates: Rates, window: int | None, *, log_level: str | None = None
) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(scripts, log=log, rates=rates, window=window),
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=log_level,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
