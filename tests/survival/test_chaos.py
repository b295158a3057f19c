"""The short run of `make chaos`: every promise holds while the parts of a cluster fail."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.survival.chaos_run import run_seed, table

SESSIONS = 12
FAULTS = 5


async def test_every_promise_holds_while_the_parts_of_a_cluster_fail() -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-chaos-", ignore_cleanup_errors=True) as scratch:
        outcome = await run_seed(Path(scratch), seed=4, sessions=SESSIONS, faults=FAULTS)
    print(table({"4": outcome}))
    assert outcome.is_good, "\n".join(f"{row}: {told}" for row, told in outcome.tally.wrong.items())
    assert outcome.tally.sessions == SESSIONS
    assert sum(outcome.faults.values()) >= FAULTS
