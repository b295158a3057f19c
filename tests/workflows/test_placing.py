"""Where tool calls run: quick ones with the workflow, others where their workspace is, and none where nobody has it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from session.vocabulary import Effect
from session.wire import RUN_TOOL, CallRef, ModelReply, ToolFate, ToolRef, tools_queue
from tests.workflows.played import Played, session
from workflows import options

pytestmark = pytest.mark.asyncio(loop_scope="session")


class At:
    """A worker's `run_tool`, and what was asked of it. `home`: the workspace root that it has."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.asked: list[ToolRef] = []
        self.local: list[bool] = []

    @activity.defn(name=RUN_TOOL)
    async def run_tool(self, at: ToolRef, effect: Effect) -> ToolFate:
        self.asked.append(at)
        self.local.append(activity.info().is_local)
        elsewhere = at.home != self.home and not at.abandoned
        return ToolFate(at.call_id, "pending" if elsewhere else "success", elsewhere=elsewhere)


def told(home: str, *, quick: bool) -> ModelReply:
    return ModelReply(calls=[CallRef("a", "tool", "sideEffect", "a", quick=quick)], home=home)


def played_at(here: At, *replies: ModelReply) -> Played:
    played = Played([*replies, ModelReply()])
    played.run_tool = here.run_tool  # type: ignore[method-assign]
    return played


async def test_a_quick_call_whose_workspace_is_here_runs_in_the_workflows_own_worker(
    client: Client, cache: int
) -> None:
    here = At("east")
    async with session(client, played_at(here, told("east", quick=True)), cache) as handle:
        assert await handle.result() == "endTurn"
    assert set(here.local) == {True} and {at.call_id for at in here.asked} == {"a"}


@pytest.mark.parametrize("quick", [True, False])
async def test_a_call_whose_workspace_is_elsewhere_runs_there(client: Client, cache: int, quick: bool) -> None:
    here, there = At("east"), At("west")
    async with session(client, played_at(here, told("west", quick=quick)), cache) as handle:
        description = await handle.describe()
        queue = tools_queue(description.task_queue, "west")
        async with Worker(client, task_queue=queue, activities=[there.run_tool]):
            assert await handle.result() == "endTurn"
    assert [at.call_id for at in there.asked] == ["a"] and there.local == [False]
    assert set(here.local) == ({True} if quick else set()), "asked here first only where that costs nothing"


async def test_a_call_that_nobody_takes_who_has_its_workspace_is_answered_and_the_session_goes_on(
    skipping: WorkflowEnvironment, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "NOT_TAKEN", timedelta(seconds=2))
    here = At("east")
    now = await skipping.get_current_time()
    replies = told("gone", quick=False)
    async with session(skipping.client, played_at(here, replies), cache, now=now) as handle:
        assert await handle.result() == "endTurn"
    assert set(here.asked) == {replace(here.asked[0], abandoned=True)}


async def test_queues_of_two_roots_differ_and_no_root_needs_none() -> None:
    name = uuid.uuid4().hex
    assert tools_queue(name, "east") != tools_queue(name, "west")
    assert tools_queue(name, "") == name
