"""`/health` and `/metrics` (CONTRACT §6)."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api.access import Caller
from api.parts import Parts, PartsOf
from store import StoreUnavailable

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(response: Response, parts: PartsOf) -> dict[str, Any]:
    """Whether sessions can be started and run: 503 when the store, Temporal or every worker is away, and when this
    process was told to go."""
    store, temporal, bus, worker = await asyncio.gather(
        _store_is_up(parts), parts.temporal.is_up(), parts.store.bus.is_up(), parts.temporal.has_worker()
    )
    states = {"store": store, "temporal": temporal, "bus": bus, "worker": worker}
    needed = store and temporal and worker
    if not needed or parts.leaving.is_set():
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    status = "away" if not needed else "ready" if bus else "degraded"
    if parts.leaving.is_set():
        status = "leaving"
    return {"status": status, "parts": {name: {"state": "up" if up else "away"} for name, up in states.items()}}


async def _store_is_up(parts: Parts) -> bool:
    try:
        await parts.store.ping()
    except StoreUnavailable:
        return False
    return True


@router.get("/metrics")
async def metrics(parts: PartsOf, caller: Caller) -> Response:
    """Prometheus text: sessions by status, those that run and wait of each key, attached readers, the live bus."""
    registry = CollectorRegistry()
    sessions = Gauge("perdure_sessions", "Sessions in the store by status", ["status"], registry=registry)
    for status, count in (await parts.store.sessions.counts()).items():
        sessions.labels(status).set(count)
    places = Gauge(
        "perdure_places",
        "Unfinished sessions by key: running (with a place) or waiting for one",
        ["key", "state"],
        registry=registry,
    )
    standing = await parts.store.admission.standing()
    for state, counts in (("running", standing.running), ("waiting", standing.waiting)):
        for key in standing.running.keys() | standing.waiting.keys():
            places.labels(key or "local", state).set(counts.get(key, 0))
    Gauge("perdure_stream_readers", "Readers attached to this process", registry=registry).set(parts.feeds.readers)
    up = Gauge("perdure_bus_up", "Whether the live bus works for this process", registry=registry)
    up.set(await parts.store.bus.is_up())
    dropped = Gauge(
        "perdure_bus_dropped", "Facts and deltas that this process did not pass on since it began", registry=registry
    )
    dropped.set(parts.store.bus.dropped)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
