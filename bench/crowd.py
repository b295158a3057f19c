"""Many sessions of a realistic model at once: whether all of them end in time, how late deltas are, what each costs.

The model's first token comes after 300 ms and then 50 tokens a second; a session has 3 steps with a tool call each, so
alone it takes some 4 s, most of it waiting for the model. All of a round begin at once, each watched by a reader of its
own. In every round the bare loop plays the same script first. Each delta is a time stamp, so its lag is told by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from anthropic import AnthropicError

from bench import scripts
from bench.figures import Figure, figure, percentile
from bench.meter import spent
from bench.stand import Run, Stand, WentWrong, crowd, run_bare, run_session
from bench.wire import Refused

LIMIT_SECONDS: Final = 180.0
"""A session's hard limit (CONTRACT §2): whatever its crowd, it must be over by then."""
ROUNDS: Final = {1: 3, 20: 3, 100: 1, 300: 1}
CONTENT: Final = scripts.steps(3, **scripts.REALISTIC)
LAGS: Final = (50, 99, 100)


class _Rounds:
    """What the rounds of one crowd showed, by kind of figure."""

    def __init__(self, stand: Stand, at_once: int) -> None:
        self._stand = stand
        self._at_once = at_once
        self.bare: list[tuple[list[Run], float, float]] = []
        """Runs, seconds, CPU seconds."""
        self.ours: list[tuple[list[Run], float]] = []
        self.cpu: list[dict[str, float]] = []
        self.grown: list[dict[str, float]] = []
        self.peak: list[float] = []

    @property
    def heard_deltas(self) -> bool:
        """Not so where worker and API are apart and nothing carries deltas between them."""
        return any(run.lags_ms for runs, _ in self.ours for run in runs)

    async def _play_bare(self) -> Run | None:
        """None for a run that failed: nothing tries again for it, and in a large crowd connections do time out."""
        try:
            return await run_bare(self._stand.bare, CONTENT)
        except AnthropicError:
            return None

    async def _play_session(self) -> Run | None:
        """None for a session that did not complete, at its limit for instance: it is counted, and why is said."""
        try:
            return await run_session(self._stand.service.url, CONTENT)
        except (WentWrong, Refused, OSError) as error:
            print(f"a session did not complete: {type(error).__name__}: {str(error)[:500]}", file=sys.stderr)
            return None

    async def play(self) -> None:
        """One round: the bare loop, then the sessions. Raises WentWrong when none of them completes."""
        meter, at_once = self._stand.meter, self._at_once
        began, cpu = time.monotonic(), time.process_time()
        bare = await crowd(self._play_bare, at_once, at_once)
        ended = [run for run in bare if run is not None]
        self.bare.append((ended, time.monotonic() - began, time.process_time() - cpu))
        before, memory, began = meter.cpu_seconds(), meter.memory_bytes(), time.monotonic()
        async with meter.watching() as peak:
            played = await crowd(self._play_session, at_once, at_once)
        runs = [run for run in played if run is not None]
        if not runs:
            raise WentWrong("no session completed")
        self.ours.append((runs, time.monotonic() - began))
        self.cpu.append(spent(before, meter.cpu_seconds()))
        grown = {part: peak.bytes_of[part] - memory[part] for part in memory}
        self.grown.append({part: max(0.0, size / at_once / 1024) for part, size in grown.items()})
        self.peak.append(sum(size for part, size in peak.bytes_of.items() if part in self._stand.ours) / 2**20)
        await self._stand.forget_requests()


async def measure(stand: Stand, at_once: int) -> list[Figure]:
    rounds = _Rounds(stand, at_once)
    for _ in range(1 if stand.quick else ROUNDS.get(at_once, 1)):
        await rounds.play()
    part = f"crowd-{at_once}"
    return [
        *_speed(part, rounds, at_once),
        *(_lag(part, rounds, percent) for percent in LAGS if rounds.heard_deltas),
        *_cpu(part, rounds, at_once, stand.ours),
        *_memory(part, rounds, stand.ours),
    ]


def _speed(part: str, rounds: _Rounds, at_once: int) -> list[Figure]:
    def both(of: Callable[[list[Run], float], float]) -> tuple[list[float], float]:
        bare = [of(runs, took) for runs, took, _ in rounds.bare]
        return [of(runs, took) for runs, took in rounds.ours], percentile(bare, 50)

    rates, bare_rate = both(lambda runs, took: len(runs) / took)
    typical, bare_typical = both(lambda runs, _: percentile([run.total_ms for run in runs], 50) / 1000)
    longest, bare_longest = both(lambda runs, _: max(run.total_ms for run in runs) / 1000)
    first, bare_first = both(lambda runs, _: percentile([run.first_ms for run in runs], 50))
    missing, bare_missing = both(lambda runs, _: at_once - sum(run.total_ms < LIMIT_SECONDS * 1000 for run in runs))
    return [
        figure(part, "sessions not completed in time", "", missing, bare=bare_missing, goal=0),
        figure(part, "sessions per second (more is better)", "1/s", rates, bare=bare_rate),
        figure(part, "time per session, p50", "s", typical, bare=bare_typical),
        figure(part, "time per session, longest", "s", longest, bare=bare_longest, goal=LIMIT_SECONDS),
        figure(part, "time to the first delta, p50", "ms", first, bare=bare_first),
    ]


def _lag(part: str, rounds: _Rounds, percent: int) -> Figure:
    def lag(runs: list[Run]) -> float:
        return percentile([lag for run in runs for lag in run.lags_ms], percent)

    name = "max" if percent == 100 else f"p{percent}"
    bare = percentile([lag(runs) for runs, *_ in rounds.bare], 50)
    return figure(part, f"delta lag {name}", "ms", [lag(runs) for runs, _ in rounds.ours], bare=bare)


def _cpu(part: str, rounds: _Rounds, at_once: int, ours: tuple[str, ...]) -> list[Figure]:
    whole = [sum(one[name] for name in ours) / at_once for one in rounds.cpu]
    bare = percentile([cpu / at_once for *_, cpu in rounds.bare], 50)
    shares = [one["model"] / took for one, (_, took) in zip(rounds.cpu, rounds.ours, strict=True)]
    return [
        figure(part, "CPU per session", "s", whole, bare=bare),
        *(
            figure(part, f"CPU of {name} per session", "s", [one[name] / at_once for one in rounds.cpu])
            for name in (*ours, "model", "client")
        ),
        # A model that is busy all the time would be what is measured.
        figure(part, "share of one core that the model took", "", shares, goal=0.5),
    ]


def _memory(part: str, rounds: _Rounds, ours: tuple[str, ...]) -> list[Figure]:
    grown = [sum(one[name] for name in ours) for one in rounds.grown]
    return [
        figure(part, "memory per session", "KiB", grown),
        figure(part, "memory in all, at most", "MiB", rounds.peak),
    ]
