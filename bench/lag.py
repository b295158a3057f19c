"""Relay lag: from the moment at which the model writes a text delta to its arrival at the session's client.

The bare loop's lag is from the same write to the hands of its caller: the SDK's own share, on the same machine.
"""

from __future__ import annotations

from functools import partial

from bench import scripts
from bench.figures import Figure, figure, percentile
from bench.stand import Run, Stand, crowd, run_bare, run_session

GOALS = {1: 2.0, 20: 30.0}
NEIGHBOURS = {
    1: "DBOS 0.6, LangGraph dev 2.5, Workflow Streams 108",
    20: "DBOS 32, LangGraph dev 166, Workflow Streams 779",
}
CONTENT = scripts.steps(5, **scripts.TYPED)


async def measure(stand: Stand) -> list[Figure]:
    return [*await _at(stand, 1, 2), *await _at(stand, 20, 40)]


async def _at(stand: Stand, at_once: int, sessions: int) -> list[Figure]:
    """Rounds of bare runs and sessions in turn; each round's percentiles are one value."""
    bares: list[list[float]] = []
    lags: list[list[float]] = []
    for _ in range(stand.rounds(3)):
        bares.append(_lags(await crowd(partial(run_bare, stand.bare, CONTENT), sessions, at_once)))
        lags.append(_lags(await crowd(partial(run_session, stand.service.url, CONTENT), sessions, at_once)))
        await stand.forget_requests()
    return [_figure(50, at_once, lags, bares), _figure(95, at_once, lags, bares)]


def _lags(runs: list[Run]) -> list[float]:
    return [lag for run in runs for lag in run.lags_ms]


def _figure(percent: int, at_once: int, lags: list[list[float]], bares: list[list[float]]) -> Figure:
    more = {"goal": GOALS[at_once], "neighbours": NEIGHBOURS[at_once]} if percent == 50 else {}
    return figure(
        "lag",
        f"delta lag p{percent}, {at_once} at once",
        "ms",
        [percentile(one, percent) for one in lags],
        bare=percentile([percentile(one, percent) for one in bares], 50),
        **more,
    )
