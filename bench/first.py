"""How much later the first piece of text comes than in a bare loop, from the client's request to its arrival."""

from __future__ import annotations

import statistics

from bench import scripts
from bench.figures import Figure, figure
from bench.stand import Stand, run_bare, run_session

GOAL = 40.0


async def measure(stand: Stand) -> list[Figure]:
    content = scripts.message({"first_token_ms": 50, "token_ms": 5, "text_tokens": 10})
    added, bares = [], []
    for _ in range(stand.rounds(20)):
        bares.append((await run_bare(stand.bare, content)).first_ms)
        added.append((await run_session(stand.service.url, content)).first_ms - bares[-1])
    return [figure("first", "added time to first delta", "ms", added, bare=statistics.median(bares), goal=GOAL)]
