"""Started on one API and watched on the other, live: what each reader saw while part after part was killed (G2)."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.survival.cluster import Cluster, cluster
from tests.survival.deltas import heard
from tests.survival.promises import Verdict, check_promises, check_view
from tests.survival.reader import Reader, start
from tests.survival.scripts import LINES, mark, task

WORDS = "I say what I do, and I do what I say, one word after the other, until it is done. "
HEAD = f"\n{'session':26}{'reader':8}{'facts':>6}{'deltas':>8}{'lost':>6}{'twice':>7}{'connections':>13}"
PACE = {"token_ms": 15, "chunk_chars": 6}


def _body(seconds: str) -> dict[str, str]:
    speech = {"thinking": WORDS, "text": WORDS * 2, **PACE}
    return {"content": task([speech | {"tools": [mark(f"{{n}}-{seconds}", seconds)]}, speech, speech | {"tools": []}])}


class _Audience:
    """One session and its readers: one at each API, of which one comes back to any."""

    def __init__(self, parts: Cluster, session_id: str) -> None:
        ours, other = parts.urls
        self.readers = {
            "api": Reader(parts.http, ours, session_id, others=[other]),
            "api2": Reader(parts.http, other, session_id, others=[ours]),
        }
        self.tasks = [asyncio.create_task(reader.run()) for reader in self.readers.values()]

    async def hears(self, name: str) -> None:
        """A delta that comes from now on."""
        reader = self.readers[name]
        before = len(reader.deltas)
        async with asyncio.timeout(40):
            while len(reader.deltas) == before:
                await asyncio.sleep(0.01)


async def _begun(parts: Cluster, url: str, key: str, seconds: str = "0.2") -> _Audience:
    session = await start(parts.http, url, _body(seconds), key)
    return _Audience(parts, session["id"])


async def test_readers_at_either_api_miss_nothing_while_part_after_part_is_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-two-", ignore_cleanup_errors=True) as scratch:
        async with cluster(Path(scratch)) as parts:
            ours, other = parts.urls
            found = {"API A killed": await _begun(parts, ours, "one")}
            await found["API A killed"].hears("api2")
            parts.kill("api")
            await found["API A killed"].hears("api2")
            found["started on B"] = await _begun(parts, other, "two")
            await found["started on B"].hears("api2")
            await parts.restart("api")
            found["worker killed mid-step"] = await _begun(parts, other, "three", "2.2")
            await _working(parts, found["worker killed mid-step"])
            parts.kill("worker")
            await parts.restart("worker")
            for name in ("postgres", "valkey"):
                found[f"{name} restarted"] = one = await _begun(parts, ours, name)
                await one.hears("api2")
                parts.kill(name)
                await parts.restart(name)
            found["afterwards"] = await _begun(parts, ours, "last")
            await found["afterwards"].hears("api2")
            async with asyncio.timeout(150):
                await asyncio.gather(*(task for one in found.values() for task in one.tasks))
            print(HEAD)
            for what, one in found.items():
                await _told(parts, what, one)


async def _working(parts: Cluster, one: _Audience) -> None:
    """Its command has left its mark and still runs."""
    about = await parts.http.get(f"{parts.url}/api/sessions/{one.readers['api'].session_id}")
    file = parts.workspace(about.json()["session"]["conversationId"]) / LINES
    async with asyncio.timeout(40):
        while not file.exists():
            await asyncio.sleep(0.01)


async def _told(parts: Cluster, what: str, one: _Audience) -> None:
    """Facts complete and in order, no fragment twice or of another attempt; a line of the table for each reader."""
    verdict = await check_promises(parts, one.readers["api"])
    afterwards = Reader(parts.http, parts.url, one.readers["api"].session_id)
    await afterwards.run()
    assert not verdict.broken, (what, verdict.broken)
    assert verdict.ended == {"endTurn": 1}, (what, verdict.ended)
    for name, reader in one.readers.items():
        seen = Verdict()
        check_view(seen, reader, afterwards)
        assert not seen.broken, (what, name, seen.broken)
        texts = heard(reader)
        assert not texts.late, (what, name, texts.late)
        assert reader.deltas, f"{what}: nothing came live to the reader at {name}"
        print(
            f"{what:26}{name:8}{len(reader.facts):>6}{len(reader.deltas):>8}{seen.facts_lost:>6}"
            f"{seen.facts_doubled + seen.deltas_doubled:>7}{reader.connections:>13}"
            f"  {len(texts.whole)} of {len(texts.texts)} heard live from end to end"
        )
