"""Drawn sessions keep every promise through kills: the short run of `python -m tests.survival.generated`."""

from __future__ import annotations

from pathlib import Path

from tests.survival.drawing import run_drawn, table

SESSIONS = 28
KILLS = 2


async def test_drawn_sessions_keep_every_promise_while_worker_and_api_are_killed(tmp_path: Path) -> None:
    run = await run_drawn(tmp_path, sessions=SESSIONS, seed=1, kills=KILLS)
    print(table(run))
    assert not run.tally.wrong, "\n".join(f"{row}: {told}" for row, told in run.tally.wrong.items())
    assert run.tally.sessions == SESSIONS
    assert len(run.kills) == KILLS and run.followed and run.tally.approvals and run.tally.answers["200"]
