"""The stand: scripted model, service and bare loop, ready to be measured, and the ways to run a session on either."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from bench import scripts
from bench.bare import BareLoop, bare_loop
from bench.meter import Meter
from bench.processes import PERDURE, scratch, scripted_model, serving
from bench.wire import ANSWER_SECONDS, Frame, Refused, Stream, ask, sent
from cli.whereabouts import told

EMBEDDED: Final = "embedded"
REFUSED, TOO_BUSY = 400, 503
COME_AGAIN_SECONDS: Final = 1.0
_STAMPS = re.compile(rb'"delta":"((?:\d{19}\|)+)"')


class WentWrong(Exception):
    """A session of the benchmark did not end as it should: its figures would mean nothing."""


@dataclass(slots=True)
class Run:
    """One run of a script: how long it took, when its first text came, how late each stamped delta was (ms)."""

    total_ms: float
    first_ms: float
    lags_ms: list[float] = field(default_factory=list)
    session_id: str = ""
    frames: int = 0
    size: int = 0
    """Of what the session's reader was sent, without ids: bytes."""


class Listening(Protocol):
    """Where a part listens, and its first process."""

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int: ...


@dataclass(frozen=True)
class Stand:
    """What the parts measure on. `quick` asks for as few rounds as show that it works.

    `service` is the API's process, `pids` are those of every part; `temporal` is where Temporal answers.
    """

    model: Listening
    service: Listening
    bare: BareLoop
    data_dir: Path
    pids: dict[str, int]
    temporal: str
    quick: bool = False
    name: str = EMBEDDED

    @property
    def meter(self) -> Meter:
        return Meter(self.pids)

    @property
    def ours(self) -> tuple[str, ...]:
        """The parts that the product consists of: all but the model."""
        return tuple(part for part in self.pids if part != "model")

    @property
    def workspaces(self) -> Path:
        return self.data_dir / "workspaces"

    def rounds(self, usual: int) -> int:
        return 2 if self.quick else usual

    async def forget_requests(self) -> None:
        """Empty the scripted model's log, so that it does not grow over the run."""
        await ask(self.model.url, "DELETE", "/_fake/requests")

    async def warm_up(self) -> None:
        """What is made once is made."""
        for _ in range(2):
            await run_bare(self.bare, scripts.steps(3))
            await run_session(self.service.url, scripts.steps(3))


@asynccontextmanager
async def stand(*, quick: bool = False, perdure: Sequence[str] = PERDURE) -> AsyncIterator[Stand]:
    """Everything started; all of it is stopped and removed at the end. Raises StartFailed."""
    with scratch() as data_dir:
        workspace = scripts.prepare(data_dir / "workspaces")
        async with (
            scripted_model(data_dir) as model,
            serving(model.url, data_dir, perdure) as service,
            bare_loop(model.url, workspace) as bare,
        ):
            temporal = told(data_dir)
            if temporal is None:
                raise WentWrong("the embedded Temporal cannot be found")
            pids = {"perdure": service.pid, "temporal": temporal.pid, "model": model.pid}
            made = Stand(model, service, bare, data_dir, pids, temporal.address, quick)
            await made.warm_up()
            yield made


async def run_bare(bare: BareLoop, content: str) -> Run:
    """Play a message in the bare loop."""
    heard: list[tuple[int, str]] = []
    begun = time.time_ns()
    await bare.run(content, lambda text: heard.append((time.time_ns(), text)))
    ended = time.time_ns()
    lags = [(at - int(text[:19])) / 1e6 for at, text in heard if text[:19].isdigit() and text[19:] == "|"]
    return Run((ended - begun) / 1e6, (heard[0][0] - begun) / 1e6 if heard else 0.0, lags)


@asynccontextmanager
async def session(url: str, content: str, **fields: Any) -> AsyncIterator[Stream]:
    """Start a session in a conversation of its own, which is made before the clock starts, and hold its stream."""
    async with sent(url, "POST", *await _message(url, content, fields)) as stream:
        yield stream


async def _message(url: str, content: str, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Path and body of a message to a new conversation."""
    conversation = (await ask(url, "POST", "/api/chat/conversations", {}))["conversation"]["id"]
    body = {"content": content, "workspace": scripts.FOLDER, "maxSteps": 200, **fields}
    return f"/api/chat/conversations/{conversation}/messages/agentic", body


async def run_session(url: str, content: str, **fields: Any) -> Run:
    """Play a message as a session, watched by its client. Raises WentWrong unless it completes.

    Where the service is too busy the client does as it is told: it comes again with the same key. The clock runs on."""
    message, key, begun_ns = await _message(url, content, fields), str(uuid.uuid4()), 0
    while True:
        async with sent(url, "POST", *message, key=key) as stream:
            await stream.over()
        begun_ns = begun_ns or stream.begun_ns
        if stream.status != TOO_BUSY or stream.ended_ns - begun_ns > ANSWER_SECONDS * 1e9:
            break
        await asyncio.sleep(COME_AGAIN_SECONDS)
    if stream.status >= REFUSED:
        raise Refused(f"{stream.status} {stream.body[:500]!r}")
    stream.begun_ns = begun_ns
    if not any(frame.is_a("complete") for frame in stream.frames[-3:]):
        last = stream.frames[-1].data if stream.frames else b"nothing was told"
        raise WentWrong(f"its stream ended with {last[:500]!r}")
    texts = [frame for frame in stream.frames if frame.is_a("content:delta")]
    total = (stream.ended_ns - stream.begun_ns) / 1e6
    first = (texts[0].at_ns - stream.begun_ns) / 1e6 if texts else 0.0
    started = next(frame for frame in stream.frames if frame.is_a("session:start"))
    size = sum(len(frame.data) for frame in stream.frames)
    return Run(total, first, lags_of(texts), started.event["data"]["sessionId"], len(stream.frames), size)


def lags_of(texts: list[Frame]) -> list[float]:
    """Milliseconds from the model's write of each stamped delta to its arrival; several may come in one frame."""
    return [lag for frame in texts for lag in lags_in(frame.data, frame.at_ns)]


def lags_in(text: bytes, at_ns: int) -> list[float]:
    """The same of one frame that arrived at this time."""
    stamps = _STAMPS.search(text)
    return [(at_ns - int(stamp)) / 1e6 for stamp in stamps[1].split(b"|")[:-1]] if stamps else []


T = TypeVar("T")


async def crowd(play: Callable[[], Awaitable[T]], sessions: int, at_once: int) -> list[T]:
    """Play so many sessions, so many at once, each begun when another ends."""
    left = iter(range(sessions))

    async def player() -> list[T]:
        return [await play() for _ in left]

    return [run for runs in await asyncio.gather(*(player() for _ in range(at_once))) for run in runs]
