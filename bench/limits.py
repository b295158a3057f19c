"""Sessions against a provider that allows ten requests a second: what it refused, with the limiter and without."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from bench import scripts
from bench.figures import Figure, figure
from bench.processes import scratch, scripted_model, serving
from bench.stand import WentWrong, run_session
from bench.wire import ask

SESSIONS, STEPS, PER_SECOND = 40, 5, 10
QUICK_SESSIONS, QUICK_STEPS = 12, 2
LIMIT_SECONDS: Final = 180.0
TURN: Final[dict[str, Any]] = {"first_token_ms": 100, "token_ms": 5, "text_tokens": 20}


async def measure(*, quick: bool = False) -> list[Figure]:
    sessions, steps = (QUICK_SESSIONS, QUICK_STEPS) if quick else (SESSIONS, STEPS)
    figures: list[Figure] = []
    for limiter in (False, True):
        figures += await _played(sessions, steps, limiter=limiter)
    return figures


async def _played(sessions: int, steps: int, *, limiter: bool) -> list[Figure]:
    """All sessions at once, each of which must complete within its limit."""
    settings = {"PERDURE_PACE_CALLS": str(limiter).lower()}
    with scratch() as folder:
        scripts.prepare(folder / "workspaces")
        async with (
            scripted_model(folder, "--requests-per-second", str(PER_SECOND)) as model,
            serving(model.url, folder, settings=settings) as service,
        ):
            began = time.monotonic()
            content = scripts.steps(steps, **TURN)
            runs = await asyncio.gather(
                *(run_session(service.url, content) for _ in range(sessions)), return_exceptions=True
            )
            took = time.monotonic() - began
            asked = await ask(model.url, "GET", "/_fake/requests")
    completed = [run.total_ms / 1000 for run in runs if not isinstance(run, BaseException)]
    for run in runs:
        if isinstance(run, BaseException) and not isinstance(run, WentWrong):
            raise run
    refused = sum(request["status"] == 429 for request in asked)
    served = len(asked) - refused
    least = (served - PER_SECOND) / PER_SECOND
    told = f"{sessions} sessions, {'with' if limiter else 'without'} the limiter"
    return [
        figure("limits", f"{told}: answered 429", "requests", [refused]),
        figure("limits", f"{told}: served", "requests", [served]),
        figure("limits", f"{told}: did not complete", "sessions", [sessions - len(completed)], goal=0),
        figure("limits", f"{told}: a session", "s", completed or [0.0], goal=LIMIT_SECONDS),
        figure("limits", f"{told}: all, where {least:.0f} s is the least", "s", [took]),
    ]
