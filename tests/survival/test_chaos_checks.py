"""The checks of `make chaos` notice what they are there for: after a calm run everything is spoiled that a row of the
table counts, and the row says so. Unspoiled, such a run is all zeros (test_chaos.py)."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from redis.asyncio import Redis

from tests.survival import chaos_verdict as checks
from tests.survival import drawn_verdict as rows
from tests.survival.chaos_load import Visit
from tests.survival.chaos_run import run_seed
from tests.survival.cluster import Cluster
from tests.survival.reader import Reader, start
from tests.survival.scripts import LINES, mark, task

SEED = 4
SESSIONS = 6


async def test_every_way_of_breaking_a_promise_is_noticed() -> None:
    left: list[asyncio.subprocess.Process] = []

    async def spoil(parts: Cluster, visits: list[Visit], sleep: str) -> None:
        _spoil_what_was_seen([visit.watcher for visit in visits if visit.watcher is not None])
        _spoil_what_was_done(parts.data_dir / "workspaces")
        await _leave_things_behind(parts, visits)
        left.append(await asyncio.create_subprocess_exec("sleep", f"600.{sleep}"))

    try:
        with tempfile.TemporaryDirectory(prefix="perdure-chaos-", ignore_cleanup_errors=True) as scratch:
            outcome = await run_seed(Path(scratch), seed=SEED, sessions=SESSIONS, faults=0, spoil=spoil)
    finally:
        for process in left:
            process.kill()
            await process.wait()
    found, wrong = outcome.verdict, outcome.tally.wrong
    assert (found.facts_lost, found.facts_doubled, found.deltas_doubled) == (1, 2, 1), found.broken
    assert found.facts_reordered == 2, "what came twice is not the same list either"
    assert found.lines_doubled > 0
    behind = {checks.TWICE, checks.BUSY, checks.WORKFLOWS, checks.PENDING, checks.KEYS, rows.LEFT}
    assert {*behind, rows.TRACES, rows.PROMISES} <= set(wrong), wrong
    assert not outcome.is_good


async def _leave_things_behind(parts: Cluster, visits: list[Visit]) -> None:
    """A key that stays, and a session that waits for a decision which nobody makes."""
    bus = Redis.from_url(f"redis://{parts.address_of('valkey')}/0")
    await bus.set("perdure:0:live:forgotten", "here")
    await bus.aclose()
    asks = {"content": task([{"tools": [mark("x", "0")]}]), "securityMode": "ask"}
    session = await start(parts.http, parts.url, asks, "nobody")
    visits[0].same_again.append(session["id"])
    async with asyncio.timeout(30):
        while not (await parts.http.get(f"{parts.url}/api/approvals?status=pending")).json()["approvals"]:
            await asyncio.sleep(0.02)


def _spoil_what_was_seen(readers: list[Reader]) -> None:
    """A fact that did not come, one that came twice, two in the wrong order, a delta that came twice."""
    facts = [[at for at, one in enumerate(reader.seen) if one.is_fact] for reader in readers]
    del readers[0].seen[facts[0][2]]
    readers[1].seen.insert(facts[1][2], readers[1].seen[facts[1][2]])
    two = readers[2].seen
    two[0], two[1] = two[1], two[0]
    spoken = next(reader for reader in readers[3:] if reader.deltas)
    at = next(at for at, one in enumerate(spoken.seen) if not one.is_fact)
    spoken.seen.insert(at, replace(spoken.seen[at]))


def _spoil_what_was_done(workspaces: Path) -> None:
    """Commands' lines that are there a second time, and written files that are gone."""
    for file in workspaces.rglob(LINES):
        file.write_text(file.read_text() * 2)
    for file in workspaces.rglob("out/*.txt"):
        file.unlink()
