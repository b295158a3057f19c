"""A reader that hangs up a hundred times misses nothing and gets nothing twice (G2)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.survival.deltas import heard
from tests.survival.promises import check_promises
from tests.survival.reader import Reader, start
from tests.survival.scripts import task
from tests.survival.topology import Topology

DISCONNECTS = 100


async def test_a_hundred_disconnects_lose_nothing_and_double_nothing(serve: Topology) -> None:
    turn: dict[str, Any] = {
        "thinking": "I think about it, {n}. " * 6,
        "text": "Words of step {n}, one after another. " * 10,
    }
    turn |= {"token_ms": 10, "chunk_chars": 4}
    turns = [turn | {"tools": [{"name": "search_files", "input": {"pattern": f"{number}*"}}]} for number in range(9)]
    session = await start(serve.http, serve.url, {"content": task([*turns, turn])}, "a-hundred")
    unlucky = Reader(serve.http, serve.url, session["id"], whim=0.1, chance=random.Random(7))
    patient = Reader(serve.http, serve.url, session["id"])
    async with asyncio.timeout(60):
        await asyncio.gather(unlucky.run(), patient.run())
    for reader in (unlucky, patient):
        verdict = await check_promises(serve, reader)
        assert not verdict.broken, verdict.broken
        assert not heard(reader).wrong and not heard(reader).late
    assert unlucky.connections > DISCONNECTS
    assert patient.connections == 1
    assert len(heard(patient).whole) == len(heard(patient).texts) == 20
    print(f"{unlucky.connections} connections; whole in {len(heard(unlucky).whole)} of 20 texts, prefixes in the rest")
    assert len(heard(unlucky).whole) > 0
