"""The whole service in this process over real parts: store, worker, API under uvicorn, on ports of its own.

Temporal's server and the scripted model are given, since several stacks may share them: a stack has its own database
and its own task queue.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import WorkerDeploymentConfig

from activities.client import provider_client
from activities.mcp import mcp_tools
from api.app import create_app
from api.parts import Parts
from session.masking import Masker
from settings import Settings
from store import Store, open_store
from store.bus import Bus, InProcessBus
from worker import make_workers, polling, surroundings

GRACE = timedelta(seconds=1)


@dataclass(frozen=True)
class Stack:
    """A running service. `http` talks to it over TCP."""

    url: str
    http: httpx.AsyncClient
    settings: Settings
    store: Store
    client: Client
    parts: Parts
    task_queue: str


class _Guest(uvicorn.Server):
    """A server inside the tests' loop: it leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """An ASGI app on a free port of 127.0.0.1; its open streams must be closed before this is left."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    server = _Guest(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        assert not serving.done(), "the server ended while it started"
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


@asynccontextmanager
async def working(
    settings: Settings,
    store: Store,
    client: Client,
    task_queue: str,
    silence_seconds: float = 30.0,
    version: WorkerDeploymentConfig | None = None,
) -> AsyncIterator[None]:
    """A worker that polls while the context lasts."""
    async with (
        mcp_tools(settings.mcp_servers, settings.data_dir / "mcp", Masker(settings.secret_values())) as sources,
        provider_client(settings.anthropic_api_key, settings.anthropic_base_url, silence_seconds) as provider,
    ):
        around = surroundings(settings, sources)
        workers = make_workers(client, store, provider, around, task_queue=task_queue, grace=GRACE, version=version)
        async with polling(workers):
            yield
        await around.close()


@asynccontextmanager
async def running_stack(
    client: Client,
    model_url: str,
    folder: Path,
    *,
    model_key: str | None = "sk-test",
    api_keys: str = "",
    has_worker: bool = True,
    worker_client: Client | None = None,
    silence_seconds: float = 30.0,
    bus: Bus | None = None,
    **more: Any,
) -> AsyncIterator[Stack]:
    """Start a stack. `client` is the API's way to Temporal, and the worker's where it has none of its own."""
    settings = Settings(
        data_dir=folder,
        anthropic_api_key=SecretStr(model_key) if model_key else None,
        anthropic_base_url=model_url,
        api_keys=api_keys,
        **more,
    )
    task_queue = f"queue-{uuid.uuid4()}"
    async with AsyncExitStack() as exits:
        store = await open_store(
            settings.sqlalchemy_url,
            bus or InProcessBus(),
            policy=settings.admission_policy,
            context=settings.context_policy,
        )
        exits.push_async_callback(store.close)
        if has_worker:
            worker = working(settings, store, worker_client or client, task_queue, silence_seconds)
            await exits.enter_async_context(worker)
        app = create_app(settings, store, client, task_queue=task_queue)
        url = await exits.enter_async_context(served(app))
        parts: Parts = app.state.parts
        exits.callback(parts.feeds.close)
        http = await exits.enter_async_context(http_client(url))
        yield Stack(url, http, settings, store, client, parts, task_queue)


def http_client(url: str, **more: Any) -> httpx.AsyncClient:
    """Plain HTTP, without the environment's proxies."""
    limits = httpx.Limits(max_connections=200)
    return httpx.AsyncClient(base_url=url, timeout=20, limits=limits, trust_env=False, **more)
