"""A crowd in one conversation, on processes of which some are killed: `python -m tests.survival.crowded`, short."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.survival.crowded import broken, crowded


async def test_whatever_a_busy_conversation_is_to_do_nobody_is_lost_or_run_twice() -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-crowded-", ignore_cleanup_errors=True) as scratch:
        crowds = await crowded(Path(scratch), ("enqueue", "interrupt"), clients=3, each=2)
    assert broken(crowds) == []
    told = {one.mode: one.rows() for one in crowds}
    assert told["enqueue"]["completed"] == 6
    assert told["interrupt"]["completed"] >= 1 and told["interrupt"]["messages accepted"] == 6
