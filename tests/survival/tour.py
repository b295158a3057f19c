"""`python -m tests.survival.tour`: two APIs, two workers, and readers that watch while one part after the other dies.

A session is started at one API and watched at both; that API is killed, two more are started at the other one, the
worker that holds a step is killed in the middle of it, PostgreSQL is killed and started again, then Valkey. After each
of these every reader must get facts and live deltas again. Prints a line for each reader; exit 1 if a promise broke.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client

from tests.survival.chaos_verdict import is_part
from tests.survival.cluster import Cluster, cluster
from tests.survival.deltas import heard
from tests.survival.promises import Verdict, check_promises
from tests.survival.reader import Reader, start
from tests.survival.scripts import mark, task

WORDS: Final = "I look at what there is, then I write a line, and I wait a little until it is there. "
PATIENCE_SECONDS: Final = 40
LIVE: Final = 5
"""So many deltas after an event say that they are live again."""


@dataclass
class Watched:
    """One reader: whom it reads, and how many deltas came in each part of the tour."""

    name: str
    reader: Reader
    task: asyncio.Task[None]
    verdict: Verdict = field(default_factory=Verdict)
    gaps: int = 0
    mixed: int = 0

    def line(self, events: list[tuple[str, float]]) -> str:
        """What it saw: the deltas before the first event, then those after each until the next."""
        edges = [0.0, *[at for _, at in events], float("inf")]
        counts = [sum(since <= one.at < until for one in self.reader.deltas) for since, until in pairwise(edges)]
        told = " | ".join(f"{name} | {count}" for (name, _), count in zip(events, counts[1:], strict=True))
        found = self.verdict
        return (
            f"{self.name}: facts {len(self.reader.facts)}; deltas {counts[0]} | {told}; doubled"
            f" {found.facts_doubled + found.deltas_doubled}, facts missing {found.facts_lost}, reordered"
            f" {found.facts_reordered}, texts with fragments left out {self.gaps}, connections"
            f" {self.reader.connections}"
        )


@dataclass
class Tour:
    """What happened, in order, and what each reader saw. `broken`: a sentence for each broken promise."""

    parts: Cluster
    events: list[tuple[str, float]] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Raises TimeoutError when a reader gets nothing any more."""
        api, other = self.parts.urls
        await self._watch("session 1, watched at B", api, other)
        self._read_too("session 1, watched at A and then at B", self.watched[0].reader.session_id, api, other)
        await self._live(0.0)
        await self._happens("API A killed", lambda: self._killed("api"))
        for number in (2, 3):
            await self._watch(f"session {number}, watched at B", other, other)
        await self._happens("2 more started at B", _nothing)
        worker = await self._worker_of(self.watched[0].reader.session_id)
        await self._happens(f"{worker} killed mid-step", lambda: self._killed(worker))
        await self._happens("PostgreSQL restarted", lambda: self._restarted("postgres"))
        await self._happens("Valkey restarted", lambda: self._restarted("valkey"))
        await self.parts.restart("api", worker)
        await self._end(other)

    async def _watch(self, name: str, at: str, url: str) -> None:
        session = await start(self.parts.http, at, _long_session(len(self.watched)), f"tour-{len(self.watched)}")
        self._read_too(name, session["id"], url)

    def _read_too(self, name: str, session_id: str, url: str, *others: str) -> None:
        reader = Reader(self.parts.http, url, session_id, others=others)
        self.watched.append(Watched(name, reader, asyncio.create_task(reader.run())))

    async def _happens(self, name: str, event: Callable[[], Awaitable[None]]) -> None:
        """An event, and then what shows that every reader goes on."""
        self.events.append((name, time.time()))
        await event()
        await self._live(time.time())

    async def _live(self, since: float) -> None:
        """Wait until every reader got a fact and some deltas after this moment."""
        for one in self.watched:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not _got_both(one.reader, since):
                    await asyncio.sleep(0.02)

    async def _killed(self, name: str) -> None:
        self.parts.kill(name)

    async def _restarted(self, name: str) -> None:
        self.parts.kill(name)
        await self.parts.restart(name)

    async def _worker_of(self, session_id: str) -> str:
        """The worker that is in the middle of a step of this session."""
        client = await Client.connect(self.parts.temporal_address)
        handle = client.get_workflow_handle(session_id)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                about: Any = (await handle.describe()).raw_description
                pids = [one.last_worker_identity.split("@")[0] for one in about.pending_activities]
                for name in self.parts.workers:
                    if str(self.parts.parts[name].pid) in pids:
                        return name
                await asyncio.sleep(0.02)

    async def _end(self, url: str) -> None:
        """Each session comes to its end after its running step, and is checked from outside."""
        for session_id in {one.reader.session_id for one in self.watched}:
            await self.parts.http.post(f"{url}/api/sessions/{session_id}/cancel", json={"mode": "graceful"})
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*[one.task for one in self.watched])
        for one in self.watched:
            one.verdict = await check_promises(self.parts, one.reader)
            found = heard(one.reader)
            one.mixed = sum(not is_part(found.fragments[key], found.texts[key]) for key in found.wrong)
            one.gaps = len(found.wrong) - one.mixed
            self.broken += [f"{one.name}: {sentence}" for sentence in one.verdict.broken]
            if one.mixed or found.late:
                self.broken.append(f"{one.name}: {one.mixed} texts of two attempts, late: {found.late[:3]}")


def _got_both(reader: Reader, since: float) -> bool:
    facts = any(one.at > since for one in reader.facts)
    return facts and sum(one.at > since for one in reader.deltas) >= LIVE


def _long_session(number: int) -> dict[str, Any]:
    """Longer than the tour: steps of some 1.5 s of speech, each with a command that leaves a mark."""
    pace = {"token_ms": 20, "chunk_chars": 6}
    turns = [{"text": WORDS * 4, "tools": [mark(f"{number}-{at}", "0.1")], **pace} for at in range(60)]
    return {"content": task(turns), "timeoutSeconds": 180}


async def _nothing() -> None:
    """To start a session is all."""


async def tour(folder: Path) -> Tour:
    """Make the cluster, and the tour through it."""
    async with cluster(folder) as parts:
        made = Tour(parts)
        try:
            await made.run()
        finally:
            for one in made.watched:
                one.task.cancel()
    return made


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="perdure-tour-", ignore_cleanup_errors=True) as scratch:
        made = asyncio.run(tour(Path(scratch)))
    print("\n".join([*[one.line(made.events) for one in made.watched], *[f"BROKEN {told}" for told in made.broken]]))
    return 1 if made.broken else 0


if __name__ == "__main__":
    sys.exit(main())
