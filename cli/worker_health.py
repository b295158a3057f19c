"""What a worker answers to whoever looks after it: it has no API, so it has a port for this alone.

GET /health/live     its event loop turns: 200. One that is stuck does not answer, and should be started again
GET /health/ready    200 while Temporal and the store answer it, else 503 with the part that is away; starting the
                     worker again would not mend that
"""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client
from temporalio.service import RPCError

from store import Store, StoreUnavailable

PATIENCE_SECONDS = 3.0


def health_app(client: Client, store: Store) -> Starlette:
    """The ASGI application of the worker's port."""

    async def live(_: Request) -> JSONResponse:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> JSONResponse:
        temporal, kept = await asyncio.gather(_temporal_is_up(client), _store_is_up(store))
        parts = {"temporal": temporal, "store": kept}
        told = {name: {"state": "up" if up else "away"} for name, up in parts.items()}
        well = temporal and kept
        return JSONResponse({"status": "ready" if well else "away", "parts": told}, 200 if well else 503)

    return Starlette(routes=[Route("/health/live", live), Route("/health/ready", ready)])


async def _temporal_is_up(client: Client) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await client.service_client.check_health()
    except (RPCError, TimeoutError):
        return False


async def _store_is_up(store: Store) -> bool:
    try:
        await store.ping()
    except StoreUnavailable:
        return False
    return True
