"""The load of `make chaos`: sessions drawn by a seed, each with a client that starts it through any API, repeats its
request now and then, decides and cancels, and two readers that come back to either API."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

from session.vocabulary import CancelMode
from tests.survival.cluster import Cluster
from tests.survival.drawn import Drawn, Json, draw
from tests.survival.drawn_client import PATIENCE_SECONDS, Played, follow
from tests.survival.reader import Reader, start
from tests.survival.scripts import mark, task

SECONDS: Final = 60
"""The limit of the busy sessions."""
MODEL_FAULTS: Final[tuple[list[Json], ...]] = (
    [{"kind": "status", "code": 529}],
    [{"kind": "status", "code": 429, "retry_after": 0.5}],
    [{"kind": "cut", "after_deltas": 9}],
    [{"kind": "clean_cut", "after_deltas": 5}, {"kind": "cut", "after_deltas": 20}],
    [{"kind": "stall", "after_deltas": 7, "seconds": 4}],
)
WORDS: Final = "I look at what there is, then I write a line, and I wait until it is there. "


@dataclass
class Visit:
    """One session of the load: what it was, what its client and readers saw, and how it was lost, if it was."""

    drawn: Drawn
    session_id: str = ""
    same_again: list[str] = field(default_factory=list)
    """The session ids that the same request with the same key was answered."""
    played: Played | None = None
    watcher: Reader | None = None
    lost: str = ""


async def visit(parts: Cluster, drawn: Drawn, key: str) -> Visit:
    """Play one session to its end, or until it is long past its limit; never raises for what the service did."""
    one = Visit(drawn)
    urls = drawn.chance.sample(parts.urls, len(parts.urls))
    try:
        session = await start(parts.http, urls, drawn.body, key, PATIENCE_SECONDS * 2)
        one.session_id = session["id"]
        one.watcher = _watcher(parts, drawn, session["id"], urls)
        async with asyncio.timeout(drawn.seconds + PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(follow(parts, drawn, session, urls))
            tasks.create_task(one.watcher.run())
            if drawn.chance.random() < 0.3:
                tasks.create_task(_ask_again(parts, one, [*urls[1:], urls[0]], key))
        one.played = playing.result()
    except (TimeoutError, AssertionError) as error:
        one.lost = f"{type(error).__name__} {error}"
    except ExceptionGroup as group:
        one.lost = "; ".join(f"{type(error).__name__} {error}" for error in group.exceptions)
    return one


def _watcher(parts: Cluster, drawn: Drawn, session_id: str, urls: list[str]) -> Reader:
    """Reads where the session was not started, in one go where it can; some take their time over each frame."""
    pause = drawn.chance.choice((0.0, 0.0, 0.02))
    return Reader(parts.http, urls[-1], session_id, pause=pause, others=urls[:-1], chance=drawn.chance)


async def _ask_again(parts: Cluster, one: Visit, urls: list[str], key: str) -> None:
    await asyncio.sleep(one.drawn.chance.choice((0.0, one.drawn.chance.uniform(0.0, 4.0))))
    again = await start(parts.http, urls, one.drawn.body, key, PATIENCE_SECONDS)
    one.same_again.append(again["id"])


def drawn_visit(seed: int, number: int, sleep: str) -> Drawn:
    """Every other one is short and of every kind (tests.survival.drawn), the others speak and work for some seconds."""
    return draw(seed, number, sleep) if number % 2 else _busy(seed, number, sleep)


def _busy(seed: int, number: int, sleep: str) -> Drawn:
    chance = random.Random(f"busy/{seed}/{number}")
    turns = [_turn(chance, f"{number}-{at}", sleep) for at in range(chance.randint(2, 5))]
    cancel: tuple[CancelMode, float] | None = ("now", chance.uniform(0.5, 4.0)) if chance.random() < 0.15 else None
    body: Json = {"content": task(turns), "timeoutSeconds": SECONDS}
    return Drawn(number, body, "full", None, "allow", SECONDS, cancel, chance)


def _turn(chance: random.Random, name: str, sleep: str) -> Json:
    """Some 0.5 to 2 s of thinking and text, then commands and files that leave a trace, and reading."""
    turn: Json = {"token_ms": chance.choice((10, 20, 30)), "chunk_chars": 6}
    turn |= {"thinking": WORDS * chance.randint(0, 2) or None, "text": WORDS * chance.randint(1, 4)}
    write: Json = {"name": "write_file", "input": {"path": f"out/{name}.txt", "content": f"{name}\n", "append": True}}
    tools: list[Json] = [
        mark(name, f"{chance.choice((0, 0, 1, 3))}.{chance.randint(0, 9)}{sleep}"),
        write,
        {"name": "directory_tree", "input": {}},
        {"name": "search_files", "input": {"pattern": "**/*"}},
    ]
    turn["tools"] = chance.sample(tools, chance.randint(1, 3))
    if chance.random() < 0.15:
        turn["faults"] = chance.choice(MODEL_FAULTS)
    return turn
