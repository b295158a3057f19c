"""`perdure promote` and `perdure versions`: which version of the workers new sessions go to (workflows.deployment)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, TypeVar

from rich.console import Console
from rich.table import Table
from temporalio.service import RPCError

from cli.connecting import connect
from session.wire import TASK_QUEUE
from settings import Settings
from workflows.deployment import Deployment, NotPromoted

EVERY_SECONDS = 1.0
T = TypeVar("T")
NOBODY = "workers without a version"


class DeployError(Exception):
    """What was asked for did not come about; the message says why."""


def run(settings: Settings, ask: Callable[[Deployment], Awaitable[None]]) -> NoReturn:
    """Ask the deployment that these settings name, and end the process. Raises DeployError, StartError.

    It ends without the interpreter's own farewell: a thread of Temporal's SDK that is just about to report back can
    abort that, and a deploy script would take the exit code for a failure.
    """

    async def asked() -> None:
        await ask(Deployment(await connect(settings, None), settings.deployment, TASK_QUEUE))

    asyncio.run(asked())
    sys.stdout.flush()
    os._exit(0)


async def promote(console: Console, deployment: Deployment, build_id: str | None, wait: bool, patience: float) -> None:
    """Wait until workers of this version poll (None: workers without one), and give new sessions to them. `wait`: also
    until all other versions are drained, so that their workers can be stopped. `patience`: seconds for all of it.

    Told again it does no harm. Raises DeployError.
    """
    give_up = time.monotonic() + patience
    who = f"version {build_id}" if build_id else NOBODY
    if not await _asked(partial(deployment.is_polled, build_id)):
        console.print(f"Waiting for {who} to poll ...")
    await _until(partial(deployment.is_polled, build_id), give_up, f"{who}: nobody polls.")
    before = (await _asked(deployment.routing)).current
    await _until(partial(_promoted, deployment, build_id), give_up, f"{who}: Temporal does not take it.")
    if before == build_id:
        console.print(f"New sessions go to {who} already.")
    else:
        console.print(f"New sessions go to {who}; before, they went to {f'version {before}' if before else NOBODY}.")
    if wait:
        await _drained(console, deployment, build_id, give_up)


async def versions(console: Console, deployment: Deployment) -> None:
    """Print the deployment's versions. Raises DeployError."""
    routing = await _asked(deployment.routing)
    table = Table("version", "state", "sessions running", box=None)
    for one in routing.versions:
        table.add_row(one.build_id, one.standing, str(await _asked(partial(deployment.sessions_of, one.build_id))))
    if routing.versions:
        console.print(table)
    console.print(f"New sessions go to {f'version {routing.current}' if routing.current else NOBODY}.")


async def _promoted(deployment: Deployment, build_id: str | None) -> bool:
    """Temporal learns of a version, and of each of its task queues, a moment after its workers began to poll."""
    try:
        await deployment.promote(build_id)
    except NotPromoted:
        return False
    return True


async def _drained(console: Console, deployment: Deployment, build_id: str | None, give_up: float) -> None:
    told: dict[str, int] = {}

    async def drained() -> bool:
        left = False
        for version in (await deployment.routing()).versions:
            if version.build_id == build_id or version.standing not in ("draining", "drained"):
                continue
            count = await deployment.sessions_of(version.build_id) if version.standing == "draining" else -1
            left = left or version.standing == "draining"
            if told.get(version.build_id) != count:
                state = "is drained: its workers can be stopped" if count < 0 else f"drains: {count} sessions run"
                console.print(f"Version {version.build_id} {state}.")
            told[version.build_id] = count
        return not left

    await _until(drained, give_up, "Some versions are not drained yet; `perdure versions` shows them.")


async def _until(done: Callable[[], Awaitable[bool]], give_up: float, otherwise: str) -> None:
    """Ask until it is so. Raises DeployError when the time is up."""
    while not await _asked(done):
        if time.monotonic() > give_up:
            raise DeployError(otherwise)
        await asyncio.sleep(EVERY_SECONDS)


async def _asked(ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await ask()
    except RPCError as error:
        raise DeployError(f"Temporal does not answer: {error.message}") from error
