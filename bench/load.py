"""Throughput and CPU: sessions of 5 steps, 20 at once, of a model that types (first token 100 ms, 40 tokens at 5 ms).

CPU seconds are user and system time of the service's whole process tree, less what it takes idle in the same time; the
scripted model and the load client are not in it. The bare loop's are this process's own.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

from bench import scripts
from bench.figures import Figure, figure
from bench.processes import cpu_seconds
from bench.stand import Stand, crowd, run_bare, run_session

AT_ONCE = 20
SESSIONS = 60
IDLE_SECONDS = 4.0
CPU_GOAL = 0.28
CPU_NEIGHBOURS = (
    "Restate 0.09, LangGraph dev 0.18, plain Temporal loop 0.36, PydanticAI on DBOS 0.44, PydanticAI on Temporal 0.65"
)
CONTENT = scripts.steps(5, **scripts.TYPED)


@dataclass(frozen=True)
class _Round:
    per_second: float
    cpu: dict[str, float]
    """Seconds per session, by part of the service."""


async def measure(stand: Stand) -> list[Figure]:
    sessions = AT_ONCE if stand.quick else SESSIONS
    idle = await _idle(stand)
    bare_rates, bare_cpu, rounds = [], [], []
    for _ in range(stand.rounds(3)):
        begun, before = time.monotonic(), time.process_time()
        await crowd(partial(run_bare, stand.bare, CONTENT), sessions, AT_ONCE)
        bare_rates.append(sessions / (time.monotonic() - begun))
        bare_cpu.append((time.process_time() - before) / sessions)
        rounds.append(await _round(stand, sessions, idle))
        await stand.forget_requests()
    return _figures(rounds, statistics.median(bare_rates), statistics.median(bare_cpu))


async def _idle(stand: Stand) -> dict[str, float]:
    """CPU seconds per second of a service that has nothing to do."""
    before = cpu_seconds(stand.service.pid)
    await asyncio.sleep(IDLE_SECONDS)
    after = cpu_seconds(stand.service.pid)
    return {part: (after[part] - before[part]) / IDLE_SECONDS for part in after}


async def _round(stand: Stand, sessions: int, idle: dict[str, float]) -> _Round:
    begun, before = time.monotonic(), cpu_seconds(stand.service.pid)
    await crowd(partial(run_session, stand.service.url, CONTENT), sessions, AT_ONCE)
    took, after = time.monotonic() - begun, cpu_seconds(stand.service.pid)
    spent = {part: (after[part] - before[part] - idle[part] * took) / sessions for part in after}
    return _Round(sessions / took, spent)


def _figures(rounds: list[_Round], bare_rate: float, bare_cpu: float) -> list[Figure]:
    parts: defaultdict[str, list[float]] = defaultdict(list)
    for one in rounds:
        for part, seconds in one.cpu.items():
            parts[part].append(seconds)
    total = [sum(one.cpu.values()) for one in rounds]
    rates = [one.per_second for one in rounds]
    return [
        figure("load", "sessions per second (more is better)", "1/s", rates, bare=bare_rate),
        figure(
            "load",
            "CPU per session of 5 steps",
            "s",
            total,
            bare=bare_cpu,
            goal=CPU_GOAL,
            neighbours=CPU_NEIGHBOURS,
        ),
        *(figure("load", f"  of it {part}", "s", seconds) for part, seconds in sorted(parts.items()) if any(seconds)),
    ]
