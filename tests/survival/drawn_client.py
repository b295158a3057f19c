"""The client of a drawn session: it starts and reads it, decides its approvals as its habit is, and may cancel it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

import httpx

from tests.survival.drawn import Drawn, Json
from tests.survival.reader import RETRY_SECONDS, Reader, start
from tests.survival.topology import Topology

ALLOWING: Final = ("allow-once", "allow-always")
PATIENCE_SECONDS: Final = 60
"""How long after its limit a session is waited for."""
_AWAY: Final = (httpx.HTTPError, OSError)


@dataclass
class Sent:
    """A decision and the answer that it came to; `unanswered` counts the tries before, which had 503 or no answer."""

    approval_id: str
    call_id: str
    decision: str
    arguments: Json | None
    status: int
    told: Json
    unanswered: int


@dataclass
class Played:
    """A session that was played to its end."""

    drawn: Drawn
    session_id: str
    conversation_id: str
    reader: Reader
    sent: list[Sent] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cancelled_at: float | None = None
    """When the drawn cancel was accepted (Unix seconds)."""


async def play(topology: Topology, drawn: Drawn, key: str) -> Played:
    """Start it at any API and play it until its stream has ended. Raises TimeoutError long after it should have."""
    urls = drawn.chance.sample(topology.urls, len(topology.urls))
    session = await start(topology.http, urls, drawn.body, key)
    return await follow(topology, drawn, session, urls)


async def follow(topology: Topology, drawn: Drawn, session: Json, urls: list[str]) -> Played:
    """Read and attend to a session that was started, at these APIs. Raises TimeoutError long after its limit."""
    url, *others = reversed(urls)
    reader = Reader(topology.http, url, session["id"], whim=0.01, others=others, chance=drawn.chance)
    played = Played(drawn, session["id"], session["conversationId"], reader)
    reading = asyncio.create_task(reader.run())
    beside = [asyncio.create_task(_decide_all(topology, played))]
    if drawn.cancel is not None:
        beside.append(asyncio.create_task(_cancel(topology, played, *drawn.cancel)))
    try:
        async with asyncio.timeout(drawn.seconds + PATIENCE_SECONDS):
            await reading
            await asyncio.wait(beside[:1])  # each decision has its answer
    finally:
        for task in (reading, *beside):
            task.cancel()
        found = await asyncio.gather(*beside, return_exceptions=True)
    played.problems += [repr(error) for error in found if isinstance(error, Exception)]
    return played


async def _decide_all(topology: Topology, played: Played) -> None:
    """See each approval in the stream, and do with it what the habit says, several at a time."""
    at = 0
    over = False
    async with asyncio.TaskGroup() as deciding:
        while not over:
            over = bool(played.reader.ended_at)
            new = played.reader.seen[at:]
            at += len(new)
            for one in new:
                if one.type == "approval:required":
                    deciding.create_task(_decide(topology, played, one.data))
            await asyncio.sleep(0.02)


async def _decide(topology: Topology, played: Played, required: Json) -> None:
    chance = played.drawn.chance
    habit = played.drawn.habit
    await asyncio.sleep(chance.choice((0, 0, chance.uniform(0.0, 1.0))))
    if habit == "ignore":
        return
    if habit == "cancel":
        mode = chance.choice(("now", "graceful"))
        await stubborn(topology, f"/api/sessions/{played.session_id}/cancel", {"mode": mode}, (202, 409))
        return
    words = {"allow": ALLOWING, "deny": ("deny",), "mixed": ("allow-once", "allow-once", "allow-always", "deny")}
    body: Json = {"decision": chance.choice(words[habit])}
    if body["decision"] == "allow-once" and chance.random() < 0.3 and (edited := _edited(required)) is not None:
        body["arguments"] = edited
    path = f"/api/sessions/{played.session_id}/approvals/{required['approvalId']}"
    answer, tries = await stubborn(topology, path, body, (200, 409))
    told: Json = answer.json()
    played.sent.append(
        Sent(
            required["approvalId"],
            required["toolCallId"],
            body["decision"],
            body.get("arguments"),
            answer.status_code,
            told,
            tries,
        )
    )


def _edited(required: Json) -> Json | None:
    """The call with other arguments, where it is a good one that writes a file."""
    path, content = required["arguments"].get("path"), required["arguments"].get("content")
    if required["name"] != "write_file" or not isinstance(path, str) or not isinstance(content, str):
        return None
    return {"path": path.replace(".txt", ".edited.txt"), "content": f"edited {content}", "append": True}


async def _cancel(topology: Topology, played: Played, mode: str, after: float) -> None:
    await asyncio.sleep(after)
    answer, _ = await stubborn(topology, f"/api/sessions/{played.session_id}/cancel", {"mode": mode}, (202, 409))
    if answer.status_code == 202:
        played.cancelled_at = time.time()


async def stubborn(
    topology: Topology, path: str, body: Json, good: tuple[int, ...], url: str = ""
) -> tuple[httpx.Response, int]:
    """POST, to each API in turn or to the one at `url`, until there is an answer that is none of "try again"; the
    answer, and how many tries had none."""
    tries = 0
    urls = cycle([url] if url else topology.urls)
    while True:
        try:
            answer = await topology.http.post(f"{next(urls)}{path}", json=body)
        except _AWAY:
            answer = None
        if answer is not None and not _try_again(answer):
            assert answer.status_code in good, f"{path}: {answer.status_code} {answer.text[:300]}"
            return answer, tries
        tries += 1
        await asyncio.sleep(RETRY_SECONDS)


def _try_again(answer: httpx.Response) -> bool:
    """503, or a decision that was taken and is still being recorded."""
    told: Any = answer.json() if answer.status_code == 409 else {}
    return answer.status_code == 503 or told.get("code") == "APPROVAL_TAKEN"
