"""What a step costs: sessions of 1, 5 and 20 steps of a model that answers at once, one at a time, next to bare runs.

A step is a model call and a tool call; the last tool is `complete_task`. The time is the client's, from its request to
the end of its stream; starting and closing the session are in it, so they weigh on the short ones.
"""

from __future__ import annotations

import statistics

from bench import scripts
from bench.figures import Figure, figure
from bench.stand import Stand, run_bare, run_session

NEIGHBOURS = "Restate 6, plain Temporal loop 53-56, PydanticAI on DBOS 61, LangGraph dev 62, PydanticAI on Temporal 103"
GOAL_AT_20 = 30.0


async def measure(stand: Stand) -> list[Figure]:
    return [
        await _added(stand, 1, 15, scripts.message({"text": "Done."}), "1 step, no tool"),
        await _added(stand, 1, 15, scripts.steps(1), "1 step"),
        await _added(stand, 5, 12, scripts.steps(5), "5 steps, reading"),
        await _added(stand, 20, 8, scripts.steps(20), "20 steps, reading"),
        await _added(stand, 20, 8, scripts.steps(20, scripts.WRITE), "20 steps, writing"),
    ]


async def _added(stand: Stand, steps: int, usual: int, content: str, what: str) -> Figure:
    """Added milliseconds per step, each round a bare run and a session."""
    added, bares = [], []
    for _ in range(stand.rounds(usual)):
        bare = (await run_bare(stand.bare, content)).total_ms
        session = (await run_session(stand.service.url, content)).total_ms
        added.append((session - bare) / steps)
        bares.append(bare / steps)
    await stand.forget_requests()
    last = {"goal": GOAL_AT_20, "neighbours": NEIGHBOURS} if steps == 20 else {}
    return figure("steps", f"added per step, {what}", "ms", added, bare=statistics.median(bares), **last)
