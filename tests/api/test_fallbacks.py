"""Fallback models: another one goes on where one does not answer, with a transcript that it takes (CONTRACT §3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from fake_model.serve import Running
from tests.support.asking import conversation, get, names_field, play, session
from tests.support.events import Event, facts, only, the, types
from tests.support.stack import Stack, running_stack
from tests.support.turns import calls, fails_first, says, script

BUSY = {"kind": "status", "code": 529, "retry_after": 0.02, "message": "Too busy."}
LOOK = ("exec", {"command": "echo {n}"})
ADAPTIVE, ALWAYS, BUDGET, PLAIN = (
    "claude-sonnet-4-6",
    "claude-opus-5-5",
    "claude-haiku-4-5",
    "claude-3-5-haiku",
)
PAIRS = [
    (BUDGET, ADAPTIVE),
    (ADAPTIVE, BUDGET),
    (ALWAYS, BUDGET),
    (BUDGET, ALWAYS),
    ("claude-sonnet-5-5", "claude-opus-4-5"),
    ("claude-sonnet-5-5", ALWAYS),
    (ALWAYS, PLAIN),
    (PLAIN, "claude-sonnet-5-5"),
]


def id_of(events: list[Event]) -> str:
    return str(the(events, "session:start")["sessionId"])


def refused(fake: Running, session_id: str) -> list[Any]:
    asked = [record for record in fake.requests if record.session == session_id]
    return [record.error for record in asked if record.outcome == "refused" or record.status == 400]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
async def test_in_the_middle_of_a_loop_of_tools_another_model_goes_on_with_a_valid_transcript(
    http: httpx.AsyncClient, fake: Running, first: str, second: str
) -> None:
    begun = calls(LOOK, thinking="First I look.", text="Looking.")
    content = script(
        begun, {**begun, "faults": [BUSY] * 3}, calls(LOOK, thinking="Once more."), says("Done.", thinking="So.")
    )
    asked = len(fake.requests)
    events = await play(http, content, model=first, fallback=[second])
    assert [record.error for record in fake.requests[asked:] if record.status == 400] == []
    assert the(events, "fallback") == {
        "from": {"model": first},
        "to": {"model": second},
        "reason": the(events, "fallback")["reason"],
    }
    assert "Too busy." in the(events, "fallback")["reason"]
    kinds = types(facts(events))
    at = kinds.index("fallback")
    assert kinds[at - 2 : at + 2] == ["step:retry", "step:retry", "fallback", "step:retry"]
    assert (only(events, "step:retry")[2]["attempt"], only(events, "step:retry")[2]["retryAfterMs"]) == (4, 0)
    complete = the(events, "complete")
    assert (complete["stopReason"], complete["model"], complete["totalSteps"]) == ("endTurn", second, 4)
    ended = await session(http, id_of(events))
    assert ended["model"] == second
    steps = (await get(http, f"/api/sessions/{id_of(events)}/transcript"))["steps"]
    assert [step["model"] for step in steps] == [first, second, second, second]
    message = (await get(http, f"/api/chat/conversations/{ended['conversationId']}"))["messages"][-1]
    assert message["model"] == second
    listed = await get(http, "/api/sessions", model=second, conversationId=ended["conversationId"])
    assert [one["id"] for one in listed["sessions"]] == [id_of(events)]


async def test_a_model_that_is_not_there_is_answered_for_at_once(http: httpx.AsyncClient) -> None:
    events = await play(http, script(says("Here.")), model="no-such-model", fallback=["no-other-model", ADAPTIVE])
    assert [one["to"]["model"] for one in only(events, "fallback")] == ["no-other-model", ADAPTIVE]
    assert the(events, "complete")["model"] == ADAPTIVE


async def test_a_wait_that_cannot_be_met_is_not_waited_for_where_another_model_may_answer(
    http: httpx.AsyncClient,
) -> None:
    full = {"kind": "status", "code": 429, "retry_after": 600}
    events = await play(http, script(fails_first(full)), model="claude-opus-4-8", fallback=["claude-opus-4-7"])
    assert "600 s" in the(events, "fallback")["reason"]
    assert the(events, "complete")["model"] == "claude-opus-4-7"


async def test_each_model_has_its_own_attempts_and_the_last_one_all_of_them(http: httpx.AsyncClient) -> None:
    events = await play(
        http, script(fails_first(*[BUSY] * 10)), model="claude-opus-4-6", fallback=[ADAPTIVE, BUDGET, ADAPTIVE]
    )
    assert [one["to"]["model"] for one in only(events, "fallback")] == [ADAPTIVE, BUDGET]
    assert the(events, "complete")["stopReason"] == "endTurn"
    assert len(only(events, "step:retry")) == 10


async def test_without_another_model_it_fails_as_before(http: httpx.AsyncClient) -> None:
    events = await play(http, script(fails_first({"kind": "status", "code": 403})), fallback=[ADAPTIVE])
    assert not only(events, "fallback") and the(events, "error")["code"] == "PROVIDER_ERROR"


async def test_a_retry_begins_with_the_model_that_was_asked_for(http: httpx.AsyncClient) -> None:
    content = script(fails_first(*[BUSY] * 3))
    events = await play(http, content, model=ADAPTIVE, fallback=[BUDGET])
    answer = await http.post(f"/api/sessions/{id_of(events)}/retry")
    assert answer.status_code == 202 and answer.json()["session"]["model"] == ADAPTIVE


async def test_after_a_fallback_to_a_model_without_a_price_the_cost_is_not_known(http: httpx.AsyncClient) -> None:
    content = script(calls(LOOK), fails_first(*[BUSY] * 3))
    events = await play(http, content, model=ADAPTIVE, fallback=["claude-unheard-of-9"])
    assert the(events, "complete")["cost"] is None
    steps = (await get(http, f"/api/sessions/{id_of(events)}/transcript"))["steps"]
    assert steps[0]["cost"] > 0 and steps[1]["cost"] is None


async def test_fallbacks_that_cannot_be_are_refused(http: httpx.AsyncClient) -> None:
    for bad in (["a"] * 6, [""], ["x" * 201], "claude-opus-5", [7]):
        names_any = await http.post("/api/sessions", json={"content": "x", "fallback": bad})
        assert names_any.status_code == 422 and "fallback" in names_any.json()["error"]
    body = {"content": "x", "maxCostUsd": 1, "fallback": ["claude-unheard-of-9"]}
    assert "claude-unheard-of-9" in names_field(await http.post("/api/sessions", json=body), "fallback")["error"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def backed(client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("backed")
    fallback = f"claude-unheard-of-9, {BUDGET}"
    async with running_stack(client, fake.url, folder, fallback_models=fallback) as started:
        yield started


async def test_the_server_s_own_fallbacks_are_those_whose_price_is_known_where_money_is_limited(backed: Stack) -> None:
    for limits, to in (({}, "claude-unheard-of-9"), ({"maxCostUsd": 1}, BUDGET)):
        talk = await conversation(backed.http)
        events = await play(backed.http, script(fails_first(*[BUSY] * 3)), conversationId=talk, **limits)
        assert the(events, "fallback")["to"]["model"] == to
    events = await play(backed.http, script(fails_first(*[BUSY] * 4)), fallback=[])
    assert not only(events, "fallback"), "an empty list is one, too"
