"""The processes of `perdure serve`, `api` and `worker`: what each is made of, and in which order it ends.

    serve:   embedded Temporal (unless TEMPORAL_ADDRESS is set) ─ store ─ client ─ worker ─ API
    api:     store ─ client ─ API            worker:  store ─ client ─ worker

At SIGTERM or SIGINT the API says at /health/ready that it goes, answers on for PERDURE_DRAIN_SECONDS, stops listening,
closes its streams, so that their readers move on, and finishes what it was asked; then the worker drains, then the
client and the store are left, and the embedded Temporal stops last. A second signal ends the process at once.

A role imports what it runs when it is run: an API alone is up in half the time without the provider's SDK, and how long
a process takes to come back is how long its sessions wait.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop
from temporalio.client import Client

from cli.connecting import StartError, connect
from cli.embedded import EmbeddedTemporal
from session.wire import SEARCH_ATTRIBUTES
from settings import Settings
from store import Store, open_bus, open_store

logger = logging.getLogger("perdure")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Service:
    """What runs: the API's address, and the UI's of the embedded Temporal."""

    url: str
    ui_url: str | None = None


@asynccontextmanager
async def whole_service(settings: Settings) -> AsyncIterator[Service]:
    """Everything in one process tree; the API answers when this yields. Raises StartError."""
    check_address(settings)
    make_folders(settings)
    async with AsyncExitStack() as stack:
        listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
        embedded = None
        if settings.temporal is None:
            embedded = await stack.enter_async_context(EmbeddedTemporal(settings.data_dir, SEARCH_ATTRIBUTES))
        store = await stack.enter_async_context(opened_store(settings))
        client = await connect(settings, embedded, measured=True)
        # With the embedded Temporal a new version takes this one's place: nobody else could go on with its sessions.
        build_id = None if embedded else settings.build_id
        await stack.enter_async_context(_working(client, store, settings, build_id))
        url = await stack.enter_async_context(_serving(settings, store, client, listener))
        yield Service(url, embedded.ui_url if embedded else None)


@asynccontextmanager
async def api_alone(settings: Settings) -> AsyncIterator[Service]:
    """The API role. It starts without Temporal too: streams and sessions are read from the store. Raises StartError."""
    check_address(settings)
    listener = listen(settings.host, settings.port)
    async with opened_store(settings) as store:
        client = await connect(settings, None, lazy=True, measured=True)
        async with _serving(settings, store, client, listener) as url:
            yield Service(url)


@asynccontextmanager
async def worker_alone(settings: Settings) -> AsyncIterator[None]:
    """The worker role; PERDURE_WORKER_PORT answers how it is (cli/worker_health.py). Raises StartError."""
    async with AsyncExitStack() as stack:
        listener = None
        if settings.worker_port is not None:
            listener = listen(settings.host, settings.worker_port)
            stack.callback(listener.close)
        store = await stack.enter_async_context(opened_store(settings))
        client = await connect(settings, None, measured=True)
        if listener is not None:
            await stack.enter_async_context(_telling(client, store, listener))
        await stack.enter_async_context(_working(client, store, settings, settings.build_id))
        yield


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """Raises StartError, StoreUnavailable."""
    make_folders(settings)
    store = await open_store(
        settings.sqlalchemy_url,
        open_bus(settings.bus_url),
        policy=settings.admission_policy,
        context=settings.context_policy,
    )
    try:
        yield store
    finally:
        await store.close()


def make_folders(settings: Settings) -> None:
    """The data dir and the workspace root. Raises StartError."""
    for name, folder, mode in (
        ("PERDURE_DATA_DIR", settings.data_dir, 0o700),
        ("PERDURE_WORKSPACE", settings.workspace_root, 0o777),
    ):
        try:
            folder.mkdir(mode, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(
                f"{name} cannot be used: the folder {folder} cannot be made ({error.strerror}); choose another."
            ) from error


def check_address(settings: Settings) -> None:
    """Without keys the API answers on loopback only (CONTRACT §6). Raises StartError."""
    if not settings.api_keys and settings.host not in LOOPBACK:
        raise StartError(
            f"Refusing to listen on {settings.host} without keys: set PERDURE_API_KEYS, or use --host 127.0.0.1."
        )


def listen(host: str, port: int) -> socket.socket:
    """The listening socket, bound before anything else is started. Raises StartError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(
            f"Port {port} on {host} cannot be used ({error.strerror}); choose another with --port."
        ) from error
    return listener


@asynccontextmanager
async def _working(client: Client, store: Store, settings: Settings, build_id: str | None) -> AsyncIterator[None]:
    with _importing():
        from worker import running_worker  # noqa: PLC0415 (see the head of this file)

    async with running_worker(client, store, settings, build_id=build_id):
        yield


@asynccontextmanager
async def _serving(settings: Settings, store: Store, client: Client, listener: socket.socket) -> AsyncIterator[str]:
    with _importing():
        from api.app import create_app  # noqa: PLC0415 (see the head of this file)

    app = create_app(settings, store, client)
    server = _Server(_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, serving)
        if not settings.api_keys:
            logger.info("no keys are configured: listening on loopback only")
        host, port = listener.getsockname()[:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        app.state.parts.leaving.set()
        if settings.drain_seconds and not serving.done():
            await asyncio.sleep(settings.drain_seconds)
        server.should_exit = True
        app.state.parts.feeds.close()
        await serving


@asynccontextmanager
async def _telling(client: Client, store: Store, listener: socket.socket) -> AsyncIterator[None]:
    """A worker's port. It answers until the worker has drained."""
    from cli.worker_health import health_app  # noqa: PLC0415 (see the head of this file)

    server = _Server(_config(health_app(client, store)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, serving)
        yield
    finally:
        server.should_exit = True
        await serving


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,  # its lines go the way of all others, which masks them
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        ws="none",
    )


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Raises StartError."""
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if serving.done():
        serving.result()
        raise StartError("the server ended while it started")


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to `run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a role to its end. SIGTERM or SIGINT cancels it wherever it is, so that everything that was begun is left in
    order; a second one ends the process at once. Raises StartError."""

    async def guarded() -> None:
        task = asyncio.ensure_future(main)
        seen = 0

        def stop() -> None:
            nonlocal seen
            seen += 1
            if seen > 1:
                os._exit(1)
            task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        with suppress(asyncio.CancelledError):
            await task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())


@contextmanager
def _importing() -> Iterator[None]:
    """Look for no garbage meanwhile. What was imported stays: afterwards look among what came since, and less often,
    which saves some 4 % of a session's CPU."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()
