"""The kill loop: sessions run, a seed says when, and whatever the target is gets SIGKILL and is started again."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.survival.promises import Verdict, check_promises, processes_with
from tests.survival.reader import Reader, start
from tests.survival.scripts import LINES, busy_session
from tests.survival.topology import Topology, embedded_pid, split, whole

PHASES: Final = ("mid-reply", "mid-tool", "in between", "random")
TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "worker": ("worker",),
    "api": ("api",),
    "temporal": ("temporal",),
    "all": ("worker", "api", "temporal"),
    "serve": ("serve",),
    "embedded": ("embedded",),
}
PHASE_SECONDS = 20.0
LIMIT_SECONDS = 180 + 15


@dataclass
class Running:
    """One session of the loop and its reader."""

    reader: Reader
    conversation_id: str
    began: float
    task: asyncio.Task[None]


@dataclass
class Report:
    """What one loop came to. Times in seconds."""

    target: str
    kills: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    gaps: list[float] = field(default_factory=list)
    """From a kill to the next fact of each session that was running, unless another kill came before it."""
    beyond: list[float] = field(default_factory=list)
    """The same, from the moment when all was up again: what the death cost beyond the restart."""
    restarts: list[float] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    undisturbed: float = 0.0
    left_over: int = 0
    connections: int = 0


async def kill_loop(
    targets: Sequence[str], folder: Path, *, seed: int, kills: int, concurrently: int = 4, baseline: bool = True
) -> Report:
    """Run sessions `concurrently` and kill the targets in turn, so many times, at moments that the seed chooses.

    `baseline`: first measure how long the sessions take undisturbed.
    """
    chance = random.Random(seed)
    mark = str(seed % 10_000).zfill(4) + str(time.time_ns())[-9:]
    made = whole if {"serve", "embedded"} & set(targets) else split
    async with made(folder) as topology:
        loop = _Loop(topology, chance, mark, Report("+".join(targets)))
        report = loop.report
        if baseline:
            report.undisturbed = await loop.undisturbed(concurrently)
        running = [asyncio.create_task(loop.keep_running()) for _ in range(concurrently)]
        try:
            while report.kills < kills:
                await loop.kill_once(targets[report.kills % len(targets)])
            loop.enough = True
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
        report.left_over = len(processes_with(mark))
        report.verdict.expect(not report.left_over, f"{report.left_over} tool processes are left")
    return report


class _Loop:
    def __init__(self, topology: Topology, chance: random.Random, mark: str, report: Report) -> None:
        self._topology = topology
        self._chance = chance
        self._mark = mark
        self._started = 0
        self._ups: list[float] = []
        self.report = report
        self.running: list[Running] = []
        self.enough = False

    async def undisturbed(self, concurrently: int) -> float:
        """How long these sessions take when nothing is killed."""
        began = time.monotonic()
        sessions = [await self._begin() for _ in range(concurrently)]
        await asyncio.gather(*(one.task for one in sessions))
        for one in sessions:
            await self._finish(one, count=False)
        return time.monotonic() - began

    async def keep_running(self) -> None:
        """One session after another until there were enough kills."""
        while not self.enough:
            session = await self._begin()
            async with asyncio.timeout(LIMIT_SECONDS):
                await session.task
            await self._finish(session)

    async def _begin(self) -> Running:
        self._started += 1
        began = time.time()
        body: dict[str, Any] = {"content": busy_session(self._mark)}
        told = await start(self._topology.http, self._topology.url, body, f"{self._mark}-{self._started}")
        chance = random.Random(self._chance.random())
        reader = Reader(self._topology.http, self._topology.url, told["id"], whim=0.01, chance=chance)
        session = Running(reader, told["conversationId"], began, asyncio.create_task(reader.run()))
        self.running.append(session)
        return session

    async def _finish(self, session: Running, *, count: bool = True) -> None:
        self.running.remove(session)
        verdict = await check_promises(self._topology, session.reader)
        verdict.expect(verdict.ended["endTurn"] == 1, f"{session.reader.session_id} ended as {list(verdict.ended)}")
        self.report.verdict.add(verdict)
        self.report.connections += session.reader.connections
        if count:
            self.report.lasted.append(session.reader.ended_at - session.began)
            self._measure(session)

    def _measure(self, session: Running) -> None:
        told = [one.event["timestamp"] / 1000 for one in session.reader.facts]
        following = [*(at for at, _ in self._topology.killed[1:]), float("inf")]
        for (at, _), up, another in zip(self._topology.killed, self._ups, following, strict=False):
            if told[0] < at < told[-1] and (gone_on := min(moment for moment in told if moment > at)) < another:
                self.report.gaps.append(gone_on - at)
                self.report.beyond.append(max(0.0, gone_on - up))

    async def kill_once(self, target: str) -> None:
        """Wait for a moment of the chosen kind, kill, start again at once, and wait until something goes on."""
        phase = self._chance.choice(PHASES)
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._moment(phase)
        names = TARGETS[target]
        inside = embedded_pid(self._topology.data_dir) if target == "embedded" else 0
        self._topology.kill(*names)
        began = time.monotonic()
        if target == "embedded":
            await self._topology.embedded_again(inside)
        else:
            await self._topology.restart(*sorted(names, key=("temporal", "worker", "api", "serve").index))
        self._ups.append(time.time())
        self.report.restarts.append(time.monotonic() - began)
        self.report.kills += 1
        self.report.phases[phase] = self.report.phases.get(phase, 0) + 1
        await asyncio.sleep(self._chance.uniform(0.0, 2.0))

    async def _moment(self, phase: str) -> None:
        """The kinds are told by the fake model and by the files, which no kill delays."""
        while not self.running:
            await asyncio.sleep(0.02)
        await asyncio.sleep(self._chance.uniform(0.0, 1.5))
        if phase == "random":
            return
        moments: dict[str, Callable[[], AsyncIterator[bool]]] = {
            "mid-reply": self._replies,
            "mid-tool": self._tools,
            "in between": self._pauses,
        }
        give_up = time.monotonic() + PHASE_SECONDS
        async for now in moments[phase]():
            if now or time.monotonic() > give_up:
                break
            await asyncio.sleep(0.005)
        if phase != "in between":
            await asyncio.sleep(self._chance.uniform(0.0, 0.25))

    async def _replies(self) -> AsyncIterator[bool]:
        while True:
            asked = await self._asked()
            yield any(request["outcome"] is None for request in asked)

    async def _pauses(self) -> AsyncIterator[bool]:
        before = sum(request["outcome"] == "completed" for request in await self._asked())
        while True:
            now = sum(request["outcome"] == "completed" for request in await self._asked())
            yield now > before
            before = now

    async def _tools(self) -> AsyncIterator[bool]:
        before = self._lines()
        while True:
            now = self._lines()
            yield now > before
            before = now

    async def _asked(self) -> list[dict[str, Any]]:
        """The newest session's requests."""
        if not self.running:
            return []
        return await self._topology.bought(self.running[-1].reader.session_id)

    def _lines(self) -> int:
        files = [self._topology.workspace(one.conversation_id) / LINES for one in self.running]
        return sum(file.stat().st_size for file in files if file.exists())


def table(reports: list[Report]) -> str:
    """The reports as a table, one column each."""
    rows: list[tuple[str, Callable[[Report], Any]]] = [
        ("kills", lambda r: r.kills),
        ("sessions ended", lambda r: r.verdict.sessions),
        ("terminal events", lambda r: r.verdict.terminal_events),
        ("ended otherwise than endTurn", lambda r: sum(r.verdict.ended.values()) - r.verdict.ended["endTurn"]),
        ("facts", lambda r: r.verdict.facts),
        ("facts lost", lambda r: r.verdict.facts_lost),
        ("facts doubled", lambda r: r.verdict.facts_doubled),
        ("facts reordered", lambda r: r.verdict.facts_reordered),
        ("deltas doubled", lambda r: r.verdict.deltas_doubled),
        ("recorded replies bought twice", lambda r: r.verdict.recorded_bought_twice),
        ("whole replies lost before recording", lambda r: r.verdict.lost_and_bought_again),
        ("half replies lost, asked again", lambda r: r.verdict.cut_and_bought_again),
        ("commands run twice", lambda r: r.verdict.lines_doubled),
        ("successes without a trace", lambda r: r.verdict.lines_missing),
        ("outcomes unknown, and said so", lambda r: r.verdict.unknown_outcomes),
        ("processes left over", lambda r: r.left_over),
        ("readers' connections", lambda r: r.connections),
        ("undisturbed, s", lambda r: f"{r.undisturbed:.1f}"),
        ("longest to the end, s", lambda r: f"{max(r.lasted, default=0):.1f}"),
        ("start again, median s", lambda r: _median(r.restarts)),
        ("kill to next fact, median s", lambda r: _median(r.gaps)),
        ("kill to next fact, worst s", lambda r: f"{max(r.gaps, default=0):.1f}"),
        ("the same, beyond the restart, median s", lambda r: _median(r.beyond)),
        ("the same, beyond the restart, worst s", lambda r: f"{max(r.beyond, default=0):.1f}"),
        ("promises broken", lambda r: len(r.verdict.broken)),
    ]
    lines = [f"{'target':40}" + "".join(f"{report.target:>10}" for report in reports)]
    for name, value in rows:
        lines.append(f"{name:40}" + "".join(f"{value(report)!s:>10}" for report in reports))
    return "\n".join(lines)


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else "-"
