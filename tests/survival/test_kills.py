"""Whatever is killed, every promise is kept: the short run of `python -m tests.survival.kill`."""

from __future__ import annotations

from pathlib import Path

from tests.survival.killing import kill_loop, table

ROUNDS = 1


async def test_each_part_killed_and_all_at_once(tmp_path: Path) -> None:
    targets = ("worker", "api", "temporal", "all")
    report = await kill_loop(targets, tmp_path, seed=3, kills=ROUNDS * len(targets), baseline=False)
    print(table([report]))
    assert not report.verdict.broken, "\n".join(report.verdict.broken)
    assert report.verdict.sessions == report.verdict.terminal_events > 0


async def test_the_whole_service_and_the_temporal_inside_it_killed(tmp_path: Path) -> None:
    targets = ("serve", "embedded")
    report = await kill_loop(targets, tmp_path, seed=4, kills=ROUNDS * len(targets), baseline=False)
    print(table([report]))
    assert not report.verdict.broken, "\n".join(report.verdict.broken)
    assert report.verdict.sessions == report.verdict.terminal_events > 0
