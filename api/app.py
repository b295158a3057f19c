"""The API's application: composition root of the process that answers HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import JSONResponse
from temporalio.client import Client

from activities.memory import Embedder, Recall
from api import approvals, audit, conversations, description, health, interactive, memory, problems, sessions
from api.bodies import BodyRules
from api.feed import Feeds
from api.parts import Parts
from api.reconciler import Reconciler
from api.retention import Retention
from api.temporal import Temporal
from session.wire import TASK_QUEUE
from settings import Settings
from store import Store

VERSION = "0.1.0"


def create_app(settings: Settings, store: Store, client: Client, *, task_queue: str = TASK_QUEUE) -> FastAPI:
    """The API over a store and a Temporal client that the caller owns and closes after it.

    While it runs, its reconciler and its retention do. At shutdown open streams have been closed by then, so that
    clients reconnect.
    """
    embedding = settings.embedding_policy
    embedder = Embedder(embedding) if embedding is not None else None
    temporal = Temporal(client, task_queue, eager=settings.build_id is None)
    parts = Parts(settings, store, temporal, Feeds(store), Recall(store, embedder))
    reconciler = Reconciler(parts)
    parts.feeds.overdue = reconciler.look_at

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        looks = {asyncio.create_task(reconciler.run()), asyncio.create_task(Retention(store, settings).run())}
        yield
        for look in looks:
            look.cancel()
        await asyncio.wait(looks)
        if embedder is not None:
            await embedder.close()

    app = FastAPI(title="Perdure", version=VERSION, summary="Agent sessions that survive.", lifespan=lifespan)
    app.state.parts = parts
    app.add_middleware(BodyRules)
    problems.install(app)
    description.describe(app)
    for room in (sessions, conversations, interactive, memory, approvals, audit, health):
        app.include_router(room.router)

    @app.get("/", include_in_schema=False)
    async def index() -> JSONResponse:
        return JSONResponse({"name": "perdure", "version": VERSION, "docs": "/docs", "health": "/health/ready"})

    return app
