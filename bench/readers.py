"""Many readers of one session: whether all of them get the same facts, how late deltas are, what each reader takes.

A session waits in a tool until all readers are attached; then a model types two replies. Readers only note what came
when, and everything is taken apart afterwards, so that the client is as small a part of what is measured as it can be.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bench import scripts
from bench.figures import Figure, figure, percentile
from bench.meter import spent
from bench.stand import Stand, WentWrong, lags_in, session
from bench.wire import ANSWER_SECONDS

TYPING: Final = 2
ATTACHED_TOGETHER: Final = 50
"""So many readers come at once, so that none of them waits for an answer longer than a client would."""
LAGS: Final = (("p50", 50), ("p99", 99), ("max", 100))
SETTLE_SECONDS: Final = 1.0
_FRAME: Final = re.compile(rb"id: (\d+)(?:\.\d+)?\ndata: [^\n]*\n\n")
_calls = itertools.count(1)


class Reader(asyncio.Protocol):
    """A connection that keeps what comes, with the time of its coming."""

    def __init__(self, request: bytes) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.first = asyncio.Event()
        self.ended = asyncio.Event()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined] # uvloop's own is not derived from asyncio.Transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append((time.time_ns(), data))
        self.first.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.first.set()
        self.ended.set()


@dataclass(frozen=True, slots=True)
class Heard:
    """What one reader got: digests of its facts and of its deltas, how many frames, and each delta's lag (ms)."""

    facts: str
    deltas: str
    frames: int
    lags_ms: list[float]


def heard(pieces: list[tuple[int, bytes]]) -> Heard:
    """Take apart what came. HTTP's chunk sizes are lines of their own between the frames, and are dropped."""
    stream = b"".join(data for _, data in pieces)
    facts, deltas, frames = hashlib.sha256(), hashlib.sha256(), 0
    lags: list[float] = []
    ends = list(itertools.accumulate(len(data) for _, data in pieces))
    piece = 0
    for found in _FRAME.finditer(stream):
        frames += 1
        while ends[piece] < found.end():
            piece += 1
        is_delta = b"." in found[0].partition(b"\n")[0]
        (deltas if is_delta else facts).update(found[0])
        if is_delta:
            lags += lags_in(found[0], pieces[piece][0])
    return Heard(facts.hexdigest(), deltas.hexdigest(), frames, lags)


async def measure(stand: Stand, readers: int) -> list[Figure]:
    """Raises WentWrong when the session does not complete."""
    gate = f"all-here-{next(_calls)}"
    meter = stand.meter
    async with session(stand.service.url, _content(gate)) as first, AsyncExitStack() as connections:
        session_id = (await first.until("session:start")).event["data"]["sessionId"]
        await first.until("tool:call")
        await _attach(stand, session_id, 1, connections)  # what the first reader of a process makes is not its own
        before = meter.memory_bytes()
        began = time.monotonic()
        attached = await _attach(stand, session_id, readers, connections)
        attaching = time.monotonic() - began
        await asyncio.sleep(SETTLE_SECONDS)
        idle, cpu = meter.memory_bytes(), meter.cpu_seconds()
        async with meter.watching() as peak:
            (stand.workspaces / scripts.FOLDER / gate).touch()
            await first.whole()
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.gather(*(reader.ended.wait() for reader in attached))
        took = spent(cpu, meter.cpu_seconds())
    if not any(frame.is_a("complete") for frame in first.frames[-3:]):
        raise WentWrong(f"the watched session did not complete: {first.frames[-1].data[:500]!r}")
    api = "api" if "api" in stand.pids else "perdure"
    held = [(size.get(api, 0) - before[api]) / readers / 1024 for size in (idle, peak.bytes_of)]
    return _figures(f"readers-{readers}", [heard(one.pieces) for one in attached], attaching, held, took[api])


def _content(gate: str) -> str:
    """The first step waits for a file, the next ones type."""
    wait = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    typing: dict[str, Any] = {**scripts.REALISTIC, "tools": [scripts.READ], "times": TYPING - 1}
    return scripts.message(
        {"text": "Wait.", "tools": [{"name": "exec", "input": {"command": wait, "timeout": 150}}]},
        *([typing] if TYPING > 1 else []),
        {**scripts.REALISTIC, "tools": [scripts.END]},
    )


async def _attach(stand: Stand, session_id: str, count: int, connections: AsyncExitStack) -> list[Reader]:
    """Each has had its first bytes when this returns."""
    at = urlsplit(stand.service.url)
    request = f"GET /api/sessions/{session_id}/events HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n"

    async def one() -> Reader:
        loop = asyncio.get_running_loop()
        made = loop.create_connection(lambda: Reader(request.encode()), at.hostname or "", at.port or 80)
        transport, reader = await made
        connections.callback(transport.close)
        await reader.first.wait()
        return reader

    attached: list[Reader] = []
    while len(attached) < count:
        attached += await asyncio.gather(*(one() for _ in range(min(ATTACHED_TOGETHER, count - len(attached)))))
    return attached


def _figures(part: str, all_heard: list[Heard], attaching: float, held: list[float], cpu: float) -> list[Figure]:
    lags = [lag for one in all_heard for lag in one.lags_ms]
    frames = sum(one.frames for one in all_heard)
    return [
        figure(part, "readers with other facts than most", "", [_others(one.facts for one in all_heard)], goal=0),
        figure(part, "readers with other deltas than most", "", [_others(one.deltas for one in all_heard)], goal=0),
        *(figure(part, f"delta lag {name}", "ms", [percentile(lags, at)]) for name, at in LAGS if lags),
        figure(part, "memory per reader, waiting", "KiB", [max(0.0, held[0])]),
        figure(part, "memory per reader, at most", "KiB", [max(0.0, held[1])]),
        figure(part, "time to attach them all", "s", [attaching]),
        figure(part, "frames delivered", "", [frames]),
        figure(part, "CPU of the API per frame delivered", "µs", [cpu / frames * 1e6]),
    ]


def _others(digests: Any) -> int:
    counted = Counter(digests)
    return int(counted.total() - counted.most_common(1)[0][1])
