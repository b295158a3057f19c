"""One seed of `make chaos`: a cluster, a load, faults; then all is mended, and what was promised is checked."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tests.survival import chaos_verdict as checks
from tests.survival.chaos_load import Visit, drawn_visit, visit
from tests.survival.chaos_verdict import Check, Outcome, median, worst
from tests.survival.cluster import Cluster, cluster
from tests.survival.faults import Faults
from tests.survival.promises import processes_with
from tests.survival.topology import NotReady

Spoil = Callable[[Cluster, list[Visit], str], Awaitable[None]]
TOGETHER: Final = 14
AHEAD: Final = 3
"""How many faults' worth of sessions may be begun before the faults, and the other way round."""


async def run_seed(
    folder: Path,
    *,
    seed: int,
    sessions: int,
    faults: int,
    together: int = TOGETHER,
    only: str = "",
    spoil: Spoil | None = None,
) -> Outcome:
    """Play so many sessions through so many faults, and check everything. `only`: faults whose name has this.

    `spoil`: what is done between the end and the checks, to see that they notice it. Raises NotReady if the cluster
    never was.
    """
    began = time.monotonic()
    mark = str(seed % 10_000).zfill(4) + str(time.time_ns())[-9:]
    async with cluster(folder, links=True, model="tests.survival.bold_model") as parts:
        running = _Running(parts, seed, mark, sessions, faults)
        running.faults.only = only
        visits = await running.play_all(together)
        if spoil is not None:
            await spoil(parts, visits, mark)
        outcome = await Check(parts, running.faults, mark).all(visits)
        for problem in running.faults.not_back:
            outcome.tally.expect(checks.BACK, False, problem)
    left = processes_with(str(folder))
    outcome.tally.expect(checks.LEFT_OF_PARTS, not left, f"{left}")
    outcome.faults = Counter(window.name for window in running.faults.windows)
    outcome.ended_alone = running.faults.ended_alone
    outcome.seconds = time.monotonic() - began
    return outcome


class _Running:
    def __init__(self, parts: Cluster, seed: int, mark: str, sessions: int, faults: int) -> None:
        self._parts = parts
        self._seed = seed
        self._mark = mark
        self._sessions = sessions
        self._wanted = faults
        self._chance = random.Random(seed)
        self.faults = Faults(parts, self._chance)
        self._begun = 0
        self._made = 0
        self._visits: list[Visit] = []

    async def play_all(self, together: int) -> list[Visit]:
        """Sessions and faults side by side, neither far ahead of the other; then everything is mended, and the sessions
        that still run come to their end."""
        supervising = asyncio.create_task(self.faults.supervise())
        try:
            breaking = asyncio.create_task(self._break_all())
            playing = [asyncio.create_task(self._keep_playing()) for _ in range(min(together, self._sessions))]
            await breaking
            await self._mend()
            await asyncio.gather(*playing)
            await self._mend()
        finally:
            supervising.cancel()
        return self._visits

    async def _keep_playing(self) -> None:
        while self._begun < self._sessions:
            number, self._begun = self._begun, self._begun + 1
            while number * self._wanted > (self._made + AHEAD) * self._sessions:
                await asyncio.sleep(0.05)
            drawn = drawn_visit(self._seed, number, self._mark)
            self._visits.append(await visit(self._parts, drawn, f"{self._mark}-{number}"))

    async def _break_all(self) -> None:
        await asyncio.sleep(1)
        while self._made < self._wanted:
            while self._made * self._sessions > (self._begun + AHEAD) * self._wanted and self._begun < self._sessions:
                await asyncio.sleep(0.05)
            self._made += await self.faults.next()
            await asyncio.sleep(self._chance.uniform(0.2, 2.0))

    async def _mend(self) -> None:
        await self._parts.healed()
        try:
            await self._parts.all_ready()
        except NotReady as error:
            self.faults.not_back.append(f"at the end: {error}")


def table(outcomes: dict[str, Outcome]) -> str:
    """One column for each; first what there was, then what must be zero."""
    shown: list[tuple[str, Callable[[Outcome], Any]]] = [
        ("sessions started", lambda o: o.started),
        ("sessions ended", lambda o: o.tally.sessions),
        ("terminal events", lambda o: o.verdict.terminal_events),
        ("faults", lambda o: sum(o.faults.values())),
        ("facts", lambda o: o.verdict.facts),
        ("deltas", lambda o: o.deltas),
        ("keys on the bus at the end, all with an expiry", lambda o: o.keys),
        ("readers' connections", lambda o: o.connections),
        ("readers told to come later (503)", lambda o: o.unavailable),
        ("texts with fragments left out", lambda o: o.gaps),
        ("requests repeated with their key", lambda o: o.again),
        ("calls", lambda o: sum(o.tally.outcomes.values())),
        ("outcomes unknown, and said so", lambda o: o.tally.outcomes["OUTCOME_UNKNOWN"]),
        ("approvals", lambda o: sum(o.tally.approvals.values())),
        ("whole replies lost before recording", lambda o: o.verdict.lost_and_bought_again),
        ("half replies lost, asked again", lambda o: o.verdict.cut_and_bought_again),
        ("processes that ended by themselves", lambda o: len(o.ended_alone)),
        ("session, median s", lambda o: median(o.lasted)),
        ("session, longest s", lambda o: worst(o.lasted)),
        ("latest end after its limit, s (15 allowed)", lambda o: f"{o.tally.latest:.1f}"),
        ("cancel to terminal event, no fault about, median s", lambda o: median(o.stops)),
        ("… worst s", lambda o: worst(o.stops)),
        ("history per step, median KB", lambda o: median(o.kb_per_step)),
        ("history per step, worst KB", lambda o: worst(o.kb_per_step)),
        ("seconds", lambda o: f"{o.seconds:.0f}"),
    ]
    zeros: list[tuple[str, Callable[[Outcome], Any]]] = [
        ("facts lost", lambda o: o.verdict.facts_lost),
        ("facts doubled", lambda o: o.verdict.facts_doubled),
        ("facts reordered", lambda o: o.verdict.facts_reordered),
        ("deltas doubled", lambda o: o.verdict.deltas_doubled),
        ("recorded replies bought twice", lambda o: o.verdict.recorded_bought_twice),
        ("commands run twice", lambda o: o.verdict.lines_doubled),
    ]
    lines = [f"{'seed':56}" + "".join(f"{name:>10}" for name in outcomes)]
    for name, value in [*shown, *zeros]:
        lines.append(f"{name:56}" + "".join(f"{value(outcome)!s:>10}" for outcome in outcomes.values()))
    for row in checks.ROWS:
        counts = "".join(f"{len(outcome.tally.wrong.get(row, [])):>10}" for outcome in outcomes.values())
        lines.append(f"{row:56}{counts}")
    return "\n".join(lines)
