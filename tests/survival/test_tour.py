"""Readers of many machines: while API, worker, PostgreSQL and Valkey die one after the other, nothing is missed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.survival.tour import LIVE, tour


async def test_every_reader_gets_all_facts_once_and_live_deltas_after_each_part_has_died() -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-tour-", ignore_cleanup_errors=True) as scratch:
        made = await tour(Path(scratch))
    lines = "\n".join(one.line(made.events) for one in made.watched)
    print(lines)
    assert not made.broken, made.broken
    assert len(made.watched) == 4
    for one in made.watched:
        assert one.verdict.facts_lost == one.verdict.facts_doubled == one.verdict.deltas_doubled == 0, lines
        last = made.events[-1][1]
        assert sum(seen.at > last for seen in one.reader.deltas) >= LIVE, lines
