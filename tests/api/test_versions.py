"""Workers with a version: a session stays with the build that began it, new ones go where `promote` says."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from rich.console import Console
from temporalio.client import Client

from api.app import create_app
from cli.deploys import DeployError, promote, versions
from fake_model.serve import Running
from tests.support.asking import follow, following, session, start
from tests.support.events import types
from tests.support.stack import Stack, http_client, running_stack, served, working
from tests.support.turns import says, script, slowly
from workflows.deployment import Deployment, taken_up, versioned


@pytest_asyncio.fixture(loop_scope="session")
async def unmanned(client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack without a worker."""
    async with running_stack(client, fake.url, tmp_path_factory.mktemp("versions"), has_worker=False) as stack:
        yield stack


@pytest.fixture
def deployment(unmanned: Stack) -> Deployment:
    return Deployment(unmanned.client, f"of-{unmanned.task_queue}", unmanned.task_queue)


@asynccontextmanager
async def worker_of(stack: Stack, build_id: str | None) -> AsyncIterator[None]:
    """A worker of this version; it has a client of its own, as one in a process of its own has."""
    version = versioned(f"of-{stack.task_queue}", build_id)
    client = await Client.connect(stack.client.service_client.config.target_host)
    async with working(stack.settings, stack.store, client, stack.task_queue, version=version):
        yield


async def ran_on(stack: Stack, session_id: str) -> str:
    described = await stack.client.get_workflow_handle(session_id).describe()
    info = described.raw_description.workflow_execution_info.versioning_info
    return str(info.deployment_version.build_id)


async def promoted(deployment: Deployment, build_id: str | None) -> str:
    """What the command says."""
    said = io.StringIO()
    await promote(Console(file=said, width=200), deployment, build_id, wait=False, patience=20)
    return said.getvalue()


async def test_the_first_version_takes_new_sessions_without_a_command(unmanned: Stack, deployment: Deployment) -> None:
    waiting = await start(unmanned.http, script(says("Yes.")))
    async with worker_of(unmanned, "one"):
        await asyncio.wait_for(taken_up(deployment, "one"), 20)
        assert types(await follow(unmanned.http, waiting["id"]))[-1] == "message_saved"
        assert await ran_on(unmanned, waiting["id"]) == "one"
        assert (await unmanned.http.get("/health/ready")).json()["parts"]["worker"] == {"state": "up"}


@pytest.mark.slow
async def test_a_running_session_stays_with_its_version_and_new_ones_go_to_the_promoted_one(
    unmanned: Stack, deployment: Deployment
) -> None:
    async with worker_of(unmanned, "one"):
        await asyncio.wait_for(taken_up(deployment, "one"), 20)
        old = await start(unmanned.http, script(slowly(6.0), says("And then.")))
        async with following(unmanned.http, old["id"]) as stream, worker_of(unmanned, "two"):
            await stream.until("content:delta")
            assert "before, they went to version one" in await promoted(deployment, "two")
            new = await start(unmanned.http, script(says("Yes.")))
            await follow(unmanned.http, new["id"])
            assert await ran_on(unmanned, new["id"]) == "two"
            assert "go to version two already" in await promoted(deployment, "two")
            await stream.rest()
        assert (await session(unmanned.http, old["id"]))["stopReason"] == "endTurn"
        assert await ran_on(unmanned, old["id"]) == "one"
    said = io.StringIO()
    await versions(Console(file=said, width=200), deployment)
    assert "draining" in said.getvalue() and "New sessions go to version two." in said.getvalue()


async def test_workers_without_a_version_keep_the_sessions_until_promote_says_otherwise(
    unmanned: Stack, deployment: Deployment
) -> None:
    async with worker_of(unmanned, None), worker_of(unmanned, "one"):
        async with asyncio.timeout(20):
            while not await deployment.is_polled("one") or (await deployment.routing()).find("one") is None:
                await asyncio.sleep(0.05)
        assert await deployment.take_over_if_first("one") is None
        before = await start(unmanned.http, script(says("Yes.")))
        await follow(unmanned.http, before["id"])
        assert await ran_on(unmanned, before["id"]) == ""
        assert "before, they went to workers without a version" in await promoted(deployment, "one")
        after = await start(unmanned.http, script(says("Yes.")))
        await follow(unmanned.http, after["id"])
        assert await ran_on(unmanned, after["id"]) == "one"
        assert "before, they went to version one" in await promoted(deployment, None)
        back = await start(unmanned.http, script(says("Yes.")))
        await follow(unmanned.http, back["id"])
        assert await ran_on(unmanned, back["id"]) == ""


async def test_a_worker_with_a_version_takes_no_session_past_the_current_one(
    unmanned: Stack, deployment: Deployment
) -> None:
    """Also where it shares the API's process, and could be handed a session at its start."""
    settings = unmanned.settings.model_copy(update={"build_id": "two"})
    app = create_app(settings, unmanned.store, unmanned.client, task_queue=unmanned.task_queue)
    version = versioned(f"of-{unmanned.task_queue}", "two")
    async with worker_of(unmanned, "one"):
        await asyncio.wait_for(taken_up(deployment, "one"), 20)
        beside = working(settings, unmanned.store, unmanned.client, unmanned.task_queue, version=version)
        async with beside, served(app) as url, http_client(url) as http:
            async with asyncio.timeout(20):
                while not await deployment.is_polled("two"):
                    await asyncio.sleep(0.05)
            begun = await start(http, script(says("Yes.")))
            await follow(unmanned.http, begun["id"])
            assert await ran_on(unmanned, begun["id"]) == "one"


async def test_a_version_that_nobody_runs_is_not_promoted(unmanned: Stack, deployment: Deployment) -> None:
    said = io.StringIO()
    with pytest.raises(DeployError, match="version three: nobody polls"):
        await promote(Console(file=said, width=200), deployment, "three", wait=False, patience=0)
    assert (await deployment.routing()).current is None
