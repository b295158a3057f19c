"""Limits on running sessions, from outside: those beyond them are `queued`, have their turn in fair order, and end
like any other whatever happens while they wait (CONTRACT §1, §2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from activities import admitting
from api import reconciler
from fake_model.serve import Running
from tests.support.asking import Json, cancel, conversation, follow, following, problem, session, start
from tests.support.events import facts, the, types
from tests.support.stack import Stack, http_client, running_stack
from tests.support.turns import says, script, slowly

KEYS = "ann:key-of-ann,bob:key-of-bob"
Stacks = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def limited(client: Client, fake: Running, tmp_path: Path) -> Stacks:
    """A service with limits, over a database of the test's own."""

    @asynccontextmanager
    async def limited_stack(**limits: Any) -> AsyncIterator[Stack]:
        async with running_stack(client, fake.url, tmp_path, **limits) as stack:
            yield stack

    return limited_stack


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reconciler looks more often than every two seconds, and at the young as well."""
    monkeypatch.setattr(reconciler, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(reconciler, "YOUNG_MS", 0)
    monkeypatch.setattr(reconciler, "LOOK_AGAIN_MS", 100)
    monkeypatch.setattr(reconciler, "SIGNAL_AGAIN_MS", 200)


async def hold(http: httpx.AsyncClient) -> Json:
    """A session that runs until it is cancelled."""
    running = await start(http, script(slowly()))
    async with following(http, running["id"]) as stream:
        await stream.until("content:delta")
    return running


async def queued(http: httpx.AsyncClient, content: str = script(says("Done.")), **fields: Any) -> Json:
    """A session that was accepted and has to wait: what a reader sees of it so far, and no more."""
    waiting = await start(http, content, **fields)
    assert (waiting["status"], waiting["startedAt"]) == ("queued", None) and waiting["queuedAt"]
    told = await http.get(f"/api/sessions/{waiting['id']}/events", headers={"Accept": "application/json"})
    assert [event["type"] for event in told.json()["events"]] == ["user_message", "session:start"]
    return waiting


async def ended(http: httpx.AsyncClient, waiting: Json, with_: str = "complete") -> None:
    """Its stream ends, once, with this."""
    events = facts(await follow(http, waiting["id"]))
    assert [kind for kind in types(events) if kind in ("complete", "error")] == [with_]


def of(stack: Stack, name: str) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return http_client(stack.url, headers={"Authorization": f"Bearer key-of-{name}"})


async def test_six_sessions_of_two_keys_have_two_places_in_fair_order(limited: Stacks) -> None:
    async with (
        limited(max_sessions=2, api_keys=KEYS) as stack,
        of(stack, "ann") as ann,
        of(stack, "bob") as bob,
    ):
        held = [await hold(ann) for _ in range(2)]
        line = [await queued(http) for http in (ann, ann, bob, bob)]
        await cancel(ann, held[0]["id"])
        for one in line:
            await ended(ann, one)
        await cancel(ann, held[1]["id"])
        await asyncio.gather(*(ended(ann, one, "error") for one in held))
        seen = [await session(ann, one["id"]) for one in held + line]
        # While one of ann's runs on, each free place is for bob, who has none; then it is the turn of ann's others.
        assert sorted(range(6), key=lambda number: seen[number]["startedAt"]) == [0, 1, 4, 5, 2, 3]
        assert_never_more_than(2, [(one["startedAt"], one["endedAt"]) for one in seen])


def assert_never_more_than(limit: int, spans: Iterable[tuple[str, str]]) -> None:
    """A place is free when its session ended, and is taken after that."""
    moments = sorted([(end, -1) for _, end in spans] + [(begin, +1) for begin, _ in spans])
    running = 0
    for _, change in moments:
        running += change
        assert running <= limit


async def test_a_waiting_session_is_queued_and_begins_when_its_turn_comes(limited: Stacks) -> None:
    async with limited(max_sessions=1) as stack:
        running, waiting = await hold(stack.http), await queued(stack.http)
        metrics = (await stack.http.get("/metrics")).text
        assert 'perdure_places{key="local",state="running"} 1.0' in metrics
        assert 'perdure_places{key="local",state="waiting"} 1.0' in metrics
        assert (await session(stack.http, waiting["id"]))["status"] == "queued"
        await cancel(stack.http, running["id"])
        await ended(stack.http, waiting)
        await ended(stack.http, running, "error")


@pytest.mark.parametrize("mode", ["now", "graceful"])
async def test_a_cancel_ends_one_that_waits_at_once_and_it_has_no_turn(limited: Stacks, mode: str) -> None:
    async with limited(max_sessions=1) as stack:
        running, waiting, next_one = await hold(stack.http), await queued(stack.http), await queued(stack.http)
        assert (await cancel(stack.http, waiting["id"], mode=mode)).status_code == 202
        events = await follow(stack.http, waiting["id"])
        assert the(events, "error")["code"] == "CANCELLED"
        assert "step:start" not in types(events)
        await cancel(stack.http, running["id"])
        await ended(stack.http, next_one)


async def test_one_that_waits_beyond_its_limit_ends_as_timeout_and_blocks_nobody(limited: Stacks) -> None:
    async with limited(max_sessions=1) as stack:
        running = await hold(stack.http)
        waiting, next_one = await queued(stack.http, timeoutSeconds=1), await queued(stack.http)
        events = await follow(stack.http, waiting["id"])
        assert the(events, "error")["code"] == "TIMEOUT"
        assert "step:start" not in types(events)
        await cancel(stack.http, running["id"])
        await ended(stack.http, next_one)


@pytest.mark.usefixtures("soon")
async def test_sessions_terminated_by_operators_give_up_their_place_and_their_turn(limited: Stacks) -> None:
    async with limited(max_sessions=1) as stack:
        running, waiting, next_one = await hold(stack.http), await queued(stack.http), await queued(stack.http)
        for one in (waiting, running):
            await stack.client.get_workflow_handle(one["id"]).terminate("by hand")
        await ended(stack.http, waiting, "error")
        await ended(stack.http, running, "error")
        await ended(stack.http, next_one)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("lost", ["the admission", "the signal"])
async def test_what_a_crash_after_the_end_left_undone_is_done_by_the_reconciler(
    limited: Stacks, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    async def dies(*_: object) -> None:
        return

    if lost == "the admission":
        monkeypatch.setattr("activities.close_session.admit_next", dies)
    else:
        monkeypatch.setattr(admitting, "tell_admitted", dies)  # as close_session finds it
    async with limited(max_sessions=1) as stack:
        running, waiting = await hold(stack.http), await queued(stack.http)
        await cancel(stack.http, running["id"])
        await ended(stack.http, waiting)


async def test_one_that_is_admitted_before_its_workflow_is_started_is_told_by_the_starter(
    limited: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looks_at_nothing(self: reconciler.Reconciler) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(reconciler.Reconciler, "run", looks_at_nothing)  # others, which run already, go on
    async with limited(max_sessions=1) as stack:
        running = await hold(stack.http)
        begins = stack.parts.temporal.start

        async def slow_to_begin(row: Any, left_ms: int) -> None:
            await cancel(stack.http, running["id"])
            await ended(stack.http, running, "error")
            while (await stack.store.sessions.row(row["id"]))["admitted_ms"] is None:
                await asyncio.sleep(0.01)
            await begins(row, left_ms)

        monkeypatch.setattr(stack.parts.temporal, "start", slow_to_begin)
        await ended(stack.http, await start(stack.http, script(says("Done."))))


async def test_a_key_finds_its_session_while_it_waits_and_a_full_queue_stores_nothing(limited: Stacks) -> None:
    async with limited(max_sessions=1, max_queued=1) as stack:
        running = await hold(stack.http)
        waiting = await queued(stack.http, key="one")
        assert (await start(stack.http, script(says("Done.")), key="one"))["id"] == waiting["id"]
        where = await conversation(stack.http)
        body = {"content": script(says("Done.")), "conversationId": where}
        refused = await stack.http.post("/api/sessions", json=body, headers={"Idempotency-Key": "two"})
        problem(refused, 429, "QUEUE_FULL")
        assert int(refused.headers["Retry-After"]) > 0
        assert (await stack.http.get(f"/api/chat/conversations/{where}")).json()["messages"] == []
        await cancel(stack.http, running["id"])
        await ended(stack.http, waiting)
        again = await stack.http.post("/api/sessions", json=body, headers={"Idempotency-Key": "two"})
        assert again.status_code == 202
        await ended(stack.http, again.json()["session"])
