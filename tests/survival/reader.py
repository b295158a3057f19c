"""A client of the event stream that is as unlucky as one likes: it reconnects by Last-Event-ID, also for no reason."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import httpx

RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame as it came: its id, its `data:` line byte for byte, and when (Unix seconds)."""

    id: str
    line: str
    at: float

    @property
    def is_fact(self) -> bool:
        return "." not in self.id

    @property
    def position(self) -> tuple[int, int]:
        offset, _, n = self.id.partition(".")
        return int(offset), int(n or 0)

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.line)
        return event

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.event["data"]
        return data


@dataclass
class Reader:
    """Reads one session to its end. `whim`: the chance, per frame, of hanging up and coming back. `pause`: how many
    seconds it takes over each frame. `others`: where else than at `url` it may come back."""

    http: httpx.AsyncClient
    url: str
    session_id: str
    whim: float = 0.0
    pause: float = 0.0
    others: Sequence[str] = ()
    chance: random.Random = field(default_factory=random.Random)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    refusals: list[str] = field(default_factory=list)
    ended_at: float = 0.0
    unavailable: int = 0
    """How often it was told to try again later (503)."""

    @property
    def facts(self) -> list[Seen]:
        return [one for one in self.seen if one.is_fact]

    @property
    def deltas(self) -> list[Seen]:
        return [one for one in self.seen if not one.is_fact]

    async def run(self) -> None:
        """Read until the stream ended after its terminal event."""
        while not await self._once():
            await asyncio.sleep(RETRY_SECONDS * self.chance.random())

    async def _once(self) -> bool:
        """One connection; True when the session's stream is at its end."""
        headers = {"Last-Event-ID": self.seen[-1].id} if self.seen else {}
        url = self.chance.choice((self.url, *self.others)) if self.connections else self.url
        self.connections += 1
        try:
            events = f"{url}/api/sessions/{self.session_id}/events"
            timeout = httpx.Timeout(10, read=40)
            async with self.http.stream("GET", events, headers=headers, timeout=timeout) as answer:
                if answer.status_code == 204:
                    return self._is_over()
                if answer.status_code != 200:
                    await answer.aread()
                    if answer.status_code == 503:
                        self.unavailable += 1
                        return False
                    self.refusals.append(f"{answer.status_code} {answer.text[:200]}")
                    return False
                async for seen in _frames(answer):
                    self.seen.append(seen)
                    if self.pause:
                        await asyncio.sleep(self.pause)
                    if self.chance.random() < self.whim:
                        return False
        except (httpx.HTTPError, OSError):
            return False
        return self._is_over()

    def _is_over(self) -> bool:
        """A clean end counts when the terminal event was in it; a server that stops ends streams cleanly too."""
        over = bool({"complete", "error"} & {one.type for one in self.facts[-2:]})
        if over and not self.ended_at:
            self.ended_at = time.time()
        return over


async def _frames(answer: httpx.Response) -> AsyncIterator[Seen]:
    event_id, line = "", ""
    async for text in answer.aiter_lines():
        if text.startswith("id: "):
            event_id = text[4:]
        elif text.startswith("data: "):
            line = text[6:]
        elif text == "" and line:
            yield Seen(event_id, line, time.time())
            event_id, line = "", ""


async def start(
    http: httpx.AsyncClient, url: str | Sequence[str], body: dict[str, Any], key: str, seconds: float = 600
) -> dict[str, Any]:
    """Start a session as a stubborn client does: the same key again until it is accepted. Returns the session.

    `url`: or several; the next one is tried after each that had no answer. Raises TimeoutError after `seconds`.
    """
    urls = cycle([url] if isinstance(url, str) else url)
    async with asyncio.timeout(seconds):
        while True:
            try:
                answer = await http.post(f"{next(urls)}/api/sessions", json=body, headers={"Idempotency-Key": key})
            except (httpx.HTTPError, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status_code == 202:
                session: dict[str, Any] = answer.json()["session"]
                return session
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(RETRY_SECONDS)


async def get(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """GET as JSON, again while the server is away or starting."""
    while True:
        try:
            answer = await http.get(url)
        except (httpx.HTTPError, OSError):
            await asyncio.sleep(RETRY_SECONDS)
            continue
        if answer.status_code == 200:
            body: dict[str, Any] = answer.json()
            return body
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(RETRY_SECONDS)
