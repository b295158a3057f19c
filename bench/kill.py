"""What `kill -9` of the worker in the middle of a model call costs, with API, worker and Temporal as processes apart.

The worker is killed and started again at once. Lost is the time from the kill until the model is asked again, less the
time that the new worker takes to start: what its absence alone would cost. The call that was cut is bought again, which
takes as long as it had run; that is told beside it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import scripts
from bench.figures import Figure, figure
from bench.processes import PERDURE, Running, key_of, scratch, scripted_model, started
from bench.wire import ask
from cli.embedded import EmbeddedTemporal
from session.wire import SEARCH_ATTRIBUTES

GOAL = 6.0
NEIGHBOURS = "on Temporal 35-68, on PostgreSQL 5-8"
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.02
INTO_THE_CALL = 1.0
CALL: dict[str, Any] = {"first_token_ms": 100, "token_ms": 50, "text_tokens": 40}
"""A call of two seconds, killed after one."""
_POLLING = re.compile(rb"polling")


@dataclass(frozen=True)
class _Roles:
    """The parts that live through the kill, and what a worker needs to know."""

    model: Running
    api: Running
    data_dir: Path
    environment: dict[str, str]

    def worker(self) -> Any:
        command = (*PERDURE, "worker", "--data-dir", str(self.data_dir))
        return started(command, self.data_dir / "worker.log", self.environment, _POLLING)


async def measure(*, quick: bool = False) -> list[Figure]:
    """Needs no stand: it has processes of its own."""
    lost, gaps, restarts, longer = [], [], [], []
    async with _roles() as roles:
        for _ in range(1 if quick else 3):
            undisturbed = await _play(roles, killed=False)
            cut = await _play(roles, killed=True)
            gaps.append(cut.gap)
            restarts.append(cut.restart)
            lost.append(max(0.0, cut.gap - cut.restart))
            longer.append(cut.total - undisturbed.total)
    return [
        figure("kill", "lost to kill -9 beyond the restart", "s", lost, goal=GOAL, neighbours=NEIGHBOURS),
        figure("kill", "  from the kill until the model is asked again", "s", gaps),
        figure("kill", "  start of the new worker", "s", restarts),
        figure("kill", "  whole session longer (with the cut call again)", "s", longer),
    ]


@asynccontextmanager
async def _roles() -> AsyncIterator[_Roles]:
    with scratch() as data_dir:
        scripts.prepare(data_dir / "workspaces")
        async with scripted_model(data_dir) as model, EmbeddedTemporal(data_dir, SEARCH_ATTRIBUTES) as temporal:
            environment = {**key_of(model.url), "TEMPORAL_ADDRESS": temporal.address}
            command = (*PERDURE, "api", "--port", "0", "--data-dir", str(data_dir))
            async with started(command, data_dir / "api.log", environment) as api:
                yield _Roles(model, api, data_dir, environment)


@dataclass(frozen=True)
class _Played:
    """Seconds: the whole session; from the kill until the call was made again; of the new worker's start."""

    total: float
    gap: float = 0.0
    restart: float = 0.0


async def _play(roles: _Roles, *, killed: bool) -> _Played:
    body = {"content": scripts.steps(2, **CALL), "workspace": scripts.FOLDER}
    async with AsyncExitStack() as workers:
        worker: Running = await workers.enter_async_context(roles.worker())
        begun = time.time()
        made = await ask(roles.api.url, "POST", "/api/sessions", body)
        session_id = made["session"]["id"]
        await _asked(roles, session_id, 1)
        gap = restart = 0.0
        if killed:
            await asyncio.sleep(INTO_THE_CALL)
            at = time.time()
            await worker.kill()
            await workers.enter_async_context(roles.worker())
            restart = time.time() - at
            gap = await _asked(roles, session_id, 2) - at
        ended = await _ended(roles, session_id)
        return _Played(ended - begun, gap, restart)


async def _asked(roles: _Roles, session_id: str, times: int) -> float:
    """When (Unix seconds) the model was asked for the session's first turn so often."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            log = await ask(roles.model.url, "GET", f"/_fake/requests?session={session_id}")
            asked = [float(one["opened_at"]) for one in log if one["turn"] == 0]
            if len(asked) >= times:
                return asked[times - 1]
            await asyncio.sleep(LOOK_SECONDS)


async def _ended(roles: _Roles, session_id: str) -> float:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await ask(roles.api.url, "GET", f"/api/sessions/{session_id}")
            if found["session"]["status"] == "completed":
                return time.time()
            await asyncio.sleep(LOOK_SECONDS)
