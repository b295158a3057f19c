"""What one session costs each part, counted: the figures that a plan for more machines is made of (docs/capacity.md).

Sessions of 3 steps with a tool, 20 at once, of two kinds: of a model that types (150 deltas), and of one that says the
same in a single delta per step. The difference is what deltas cost. Counted are: CPU seconds of each part, less what it
takes idle; Temporal's events from the histories themselves; rows, transactions and bytes from PostgreSQL's own
statistics; the bus's commands and bytes from Valkey's.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from bench import scripts
from bench.apart import StandApart
from bench.figures import Figure, figure
from bench.meter import spent
from bench.servers import store_counts, valkey_counts
from bench.stand import Run, Stand, crowd, run_session

SESSIONS: Final = 60
AT_ONCE: Final = 20
STEPS: Final = 3
IDLE_SECONDS: Final = 4.0
SETTLE_SECONDS: Final = 1.5
"""PostgreSQL's sessions report what they did about once a second."""
TYPED: Final = scripts.steps(STEPS, **scripts.REALISTIC)
PLAIN: Final = scripts.steps(STEPS, first_token_ms=1300)
"""As long as the typing model, with one delta."""

ACTIONS: Final = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_MARKER_RECORDED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
}
"""What Temporal Cloud bills, as far as a history shows it: heartbeats are actions too, and leave no event."""


@dataclass(frozen=True)
class _Played:
    """Sessions of one kind: their runs, CPU per session by part, and the servers' counts per session."""

    runs: list[Run]
    cpu: dict[str, float]
    counts: dict[str, float]


async def measure(stand: Stand) -> list[Figure]:
    sessions = 8 if stand.quick else SESSIONS
    idle = await _idle(stand)
    plain = await _play(stand, PLAIN, sessions, idle)
    typed = await _play(stand, TYPED, sessions, idle)
    deltas = sum(len(run.lags_ms) for run in typed.runs) / sessions
    return [
        figure("costs", "deltas", "", [deltas]),
        figure("costs", "frames sent to a reader", "", [sum(run.frames for run in typed.runs) / sessions]),
        figure("costs", "bytes sent to a reader", "", [sum(run.size for run in typed.runs) / sessions]),
        *(figure("costs", f"CPU of {name}", "s", [typed.cpu[name]]) for name in sorted(typed.cpu)),
        *(figure("costs", f"CPU of {name} without deltas", "s", [plain.cpu[name]]) for name in sorted(plain.cpu)),
        *(figure("costs", name, "", [count]) for name, count in (await _temporal(stand, typed.runs)).items()),
        *(figure("costs", name, "", [count]) for name, count in typed.counts.items()),
    ]


async def _idle(stand: Stand) -> dict[str, float]:
    """CPU seconds per second of parts that have nothing to do."""
    before = stand.meter.cpu_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    return {part: seconds / IDLE_SECONDS for part, seconds in spent(before, stand.meter.cpu_seconds()).items()}


async def _play(stand: Stand, content: str, sessions: int, idle: dict[str, float]) -> _Played:
    before, began, cpu = await _counts(stand), time.monotonic(), stand.meter.cpu_seconds()
    runs = await crowd(partial(run_session, stand.service.url, content), sessions, AT_ONCE)
    took = time.monotonic() - began
    used = {
        part: max(0.0, seconds - idle[part] * took) / sessions
        for part, seconds in spent(cpu, stand.meter.cpu_seconds()).items()
    }
    await asyncio.sleep(SETTLE_SECONDS)
    counts = {name: (count - before[name]) / sessions for name, count in (await _counts(stand)).items()}
    await stand.forget_requests()
    return _Played(runs, used, counts)


async def _counts(stand: Stand) -> dict[str, float]:
    """Of the servers that this stand has of its own."""
    if not isinstance(stand, StandApart):
        return {}
    return {**await store_counts(stand.database_url), **await valkey_counts(stand.bus_url)}


async def _temporal(stand: Stand, runs: list[Run]) -> dict[str, float]:
    """Events, bytes and actions of a history, the mean of all."""
    client = await Client.connect(stand.temporal)
    events: Counter[str] = Counter()
    for run in runs:
        history = await client.get_workflow_handle(run.session_id).fetch_history()
        events["Temporal events"] += len(history.events)
        events["Temporal history bytes"] += sum(event.ByteSize() for event in history.events)
        for event in history.events:
            events["Temporal actions"] += event.event_type in ACTIONS
            events["workflow tasks"] += event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
            events["activities"] += event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    return {name: count / len(runs) for name, count in events.items()}
