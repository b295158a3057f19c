"""`python -m tests.survival.crowded`: fifty messages thrown at one conversation by five clients, in each conflict mode,
on two APIs and two workers, of which one each is killed and started again in between.

A client sends its messages one after the other and waits for nothing but their acceptance; one that is refused is sent
again. Then everything is checked from outside: nobody lost, nobody run twice, one at a time, in the order of the
messages. Prints a table with a column for each mode; exit 1 if a promise broke.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Final

import httpx

from session.vocabulary import OnConflict
from tests.survival.cluster import Cluster, cluster
from tests.survival.promises import Verdict, check_session
from tests.survival.reader import Reader, get
from tests.survival.scripts import mark, task

Json = dict[str, Any]
MODES: Final[tuple[OnConflict, ...]] = ("reject", "enqueue", "interrupt")
CLIENTS: Final = 5
EACH: Final = 10
AGAIN_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 170
WORDS: Final = "I write down that I was here, and then I am done. "
REFUSED: Final = (409, 429, 503)
"""Sent again with the same key: the conversation is busy, its line is full, or somebody is away."""


@dataclass
class Crowd:
    """One mode: what was accepted and refused, and what was found of it afterwards."""

    parts: Cluster
    mode: OnConflict
    conversation_id: str = ""
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    readers: dict[str, Reader] = field(default_factory=dict)
    reading: list[asyncio.Task[None]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    statuses: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    out_of_order: int = 0
    at_once: int = 0
    busy: bool = False

    async def run(self, clients: int = CLIENTS, each: int = EACH) -> None:
        """Throw the messages, kill in between, and look. Raises TimeoutError when a session does not end."""
        made = await self.parts.http.post(f"{self.parts.url}/api/chat/conversations", json={"title": self.mode})
        self.conversation_id = made.json()["conversation"]["id"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with asyncio.TaskGroup() as tasks:
                for number in range(clients):
                    tasks.create_task(self._client(number, each))
                tasks.create_task(self._kill_at("api", clients * each // 3))
                tasks.create_task(self._kill_at("worker", clients * each // 2))
            await asyncio.gather(*self.reading)
        await self._look()

    async def _client(self, number: int, each: int) -> None:
        for at in range(each):
            name = f"{self.mode}-{number}-{at}"
            turn = {"text": WORDS, "tools": [mark(name, "0.05")], "token_ms": 5, "chunk_chars": 6}
            body: Json = {"content": task([turn]), "conversationId": self.conversation_id, "onConflict": self.mode}
            await self._send(body, name, number)

    async def _send(self, body: Json, key: str, number: int) -> None:
        urls = cycle(self.parts.urls[number % 2 :] + self.parts.urls[: number % 2])
        while True:
            try:
                answer = await self.parts.http.post(
                    f"{next(urls)}/api/sessions", json=body, headers={"Idempotency-Key": key}
                )
            except (httpx.HTTPError, OSError):
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if answer.status_code == 202:
                break
            assert answer.status_code in REFUSED, answer.text
            self.refused += 1
            await asyncio.sleep(AGAIN_SECONDS)
        session_id = answer.json()["session"]["id"]
        self.accepted.append(session_id)
        reader = Reader(self.parts.http, next(urls), session_id, others=self.parts.urls)
        self.readers[session_id] = reader
        self.reading.append(asyncio.create_task(reader.run()))

    async def _kill_at(self, name: str, accepted: int) -> None:
        """Kill a part when so many messages were accepted, and start it again."""
        while len(self.accepted) < accepted:
            await asyncio.sleep(0.01)
        self.parts.kill(name)
        await self.parts.restart(name)

    async def _look(self) -> None:
        url = self.parts.url
        about = await get(self.parts.http, f"{url}/api/chat/conversations/{self.conversation_id}")
        said = [message["sessionId"] for message in about["messages"] if message["role"] == "user"]
        self.busy = about["activeSessionId"] is not None
        self.lost = len(set(self.accepted) ^ set(said)) + len(said) - len(set(said))
        sessions = [(await get(self.parts.http, f"{url}/api/sessions/{one}"))["session"] for one in said]
        for session in sessions:
            status = session["status"]
            self.statuses[status] = self.statuses.get(status, 0) + 1
            found = await check_session(self.parts, self.readers[session["id"]], session)
            found.broken = [f"{session['id']}: {sentence}" for sentence in found.broken]
            self.verdict.add(found)
        ran = [session for session in sessions if session["startedAt"] is not None]
        self.out_of_order = sum(one["startedAt"] > other["startedAt"] for one, other in pairwise(ran))
        in_time = sorted(ran, key=lambda session: str(session["startedAt"]))
        self.at_once = sum(one["endedAt"] > other["startedAt"] for one, other in pairwise(in_time))

    def rows(self) -> dict[str, int]:
        """What is printed; those in MUST_BE_ZERO must be."""
        found = self.verdict
        return {
            "messages accepted": len(self.accepted),
            "refused, and sent again": self.refused,
            "completed": self.statuses.get("completed", 0),
            "cancelled": self.statuses.get("cancelled", 0),
            "failed": self.statuses.get("failed", 0),
            "lost": self.lost,
            "not in the order of the messages": self.out_of_order,
            "two at once": self.at_once,
            "commands run twice": found.lines_doubled,
            "recorded replies bought again": found.recorded_bought_twice,
            "facts lost, doubled, reordered": found.facts_lost + found.facts_doubled + found.facts_reordered,
            "conversation busy at the end": int(self.busy),
            "other promises broken": len(found.broken),
        }


MUST_BE_ZERO: Final = (
    "failed",
    "lost",
    "not in the order of the messages",
    "two at once",
    "commands run twice",
    "recorded replies bought again",
    "facts lost, doubled, reordered",
    "conversation busy at the end",
    "other promises broken",
)


def broken(crowds: Sequence[Crowd]) -> list[str]:
    """A sentence for each promise that was not kept."""
    told = [f"{one.mode}: {name} {one.rows()[name]}" for one in crowds for name in MUST_BE_ZERO if one.rows()[name]]
    return told + [f"{one.mode}: {sentence}" for one in crowds for sentence in one.verdict.broken]


async def crowded(folder: Path, modes: Sequence[OnConflict], clients: int = CLIENTS, each: int = EACH) -> list[Crowd]:
    """One crowd for each mode, on one topology."""
    async with cluster(folder) as parts:
        crowds = [Crowd(parts, mode) for mode in modes]
        for one in crowds:
            try:
                await one.run(clients, each)
            finally:
                for reading in one.reading:
                    reading.cancel()
    return crowds


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="perdure-crowded-", ignore_cleanup_errors=True) as scratch:
        crowds = asyncio.run(crowded(Path(scratch), MODES))
    print(f"{'':34}" + "".join(f"{one.mode:>12}" for one in crowds))
    for name in crowds[0].rows():
        print(f"{name:34}" + "".join(f"{one.rows()[name]:12}" for one in crowds))
    told = broken(crowds)
    print("\n".join(f"BROKEN {sentence}" for sentence in told))
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
