"""What clients see when the model's provider fails (CONTRACT §3, DESIGN §4), with the real SDK against real faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from fake_model.serve import Running
from tests.support.asking import follow, play, session, start
from tests.support.events import Event, facts, only, the, types
from tests.support.stack import Stack, running_stack
from tests.support.turns import fails_first, says, script

RETRIED: list[tuple[dict[str, Any], str]] = [
    ({"kind": "status", "code": 429, "retry_after": 0.3, "message": "Slow down."}, "Slow down."),
    ({"kind": "status", "code": 529}, "overloaded_error"),
    ({"kind": "status", "code": 500}, "api_error"),
    ({"kind": "status", "code": 408}, ""),
    ({"kind": "error_event", "message": "Too busy."}, "Too busy."),
    ({"kind": "error_event", "error_type": "rate_limit_error"}, "rate_limit_error"),
    ({"kind": "cut"}, "connection"),
    ({"kind": "clean_cut"}, "cut off"),
]
FINAL: list[tuple[dict[str, Any], str]] = [
    ({"kind": "status", "code": 400, "message": "messages: too strange"}, "messages: too strange"),
    ({"kind": "status", "code": 401, "message": "invalid x-api-key"}, "invalid x-api-key"),
    ({"kind": "status", "code": 403, "message": "not for you"}, "not for you"),
    ({"kind": "status", "code": 413, "message": "much too large"}, "much too large"),
    ({"kind": "error_event", "error_type": "invalid_request_error", "message": "no such thing"}, "no such thing"),
]


def name_of(case: Any) -> str:
    return "-".join(str(case[name]) for name in ("kind", "code", "error_type") if name in case) if case else ""


@pytest.mark.parametrize(("fault", "said"), RETRIED, ids=[name_of(fault) for fault, _ in RETRIED])
async def test_a_fault_that_may_pass_is_retried_and_announced_and_one_reply_is_bought(
    http: httpx.AsyncClient, fake: Running, fault: dict[str, Any], said: str
) -> None:
    running = await start(http, script(fails_first(fault)))
    events = await follow(http, running["id"])
    retry = the(events, "step:retry")
    assert (retry["step"], retry["attempt"]) == (1, 2) and said in retry["reason"]
    assert types(facts(events))[2:6] == ["step:start", "step:retry", "content", "step:complete"]
    assert the(events, "complete")["stopReason"] == "endTurn"
    assert spoken_after_the_retry(events) == the(events, "content")["text"] == "one two three four five"
    assert fake.bought()[running["id"]] == {0: 1}
    if "retry_after" in fault:
        assert retry["retryAfterMs"] == 300
        asked = [record.opened_at for record in fake.requests if record.session == running["id"]]
        assert asked[1] - asked[0] >= 0.29


def spoken_after_the_retry(events: list[Event]) -> str:
    again = types(events).index("step:retry")
    return "".join(event.data["delta"] for event in events[again:] if event.type == "content:delta")


async def test_a_tool_input_that_is_no_whole_json_is_a_cut_and_runs_nothing(
    http: httpx.AsyncClient, fake: Running
) -> None:
    turn = {
        "tools": [{"name": "exec", "input": {"command": "echo once"}}],
        "faults": [{"kind": "bad_tool_json"}],
    }
    running = await start(http, script(turn))
    events = await follow(http, running["id"])
    assert "JSON" in the(events, "step:retry")["reason"]
    assert len(only(events, "tool:call")) == len(only(events, "tool:result")) == 1
    assert fake.bought()[running["id"]] == {0: 1, 1: 1}


async def test_several_faults_in_a_row_are_announced_each(http: httpx.AsyncClient, fake: Running) -> None:
    faults: list[dict[str, Any]] = [{"kind": "cut"}, {"kind": "status", "code": 529, "retry_after": 0.1}]
    running = await start(http, script(fails_first(*faults)))
    events = await follow(http, running["id"])
    assert [data["attempt"] for data in only(events, "step:retry")] == [2, 3]
    assert len(only(events, "step:start")) == 1, "it comes once per step"
    assert fake.bought()[running["id"]] == {0: 1}


@pytest.mark.parametrize(("fault", "said"), FINAL, ids=[name_of(fault) for fault, _ in FINAL])
async def test_a_refused_request_ends_the_session_with_the_provider_s_own_words(
    http: httpx.AsyncClient, fake: Running, fault: dict[str, Any], said: str
) -> None:
    running = await start(http, script(fails_first(fault)))
    events = await follow(http, running["id"])
    error = the(events, "error")
    assert (error["code"], error["stopReason"], error["retryable"]) == ("PROVIDER_ERROR", "providerError", False)
    assert said in error["message"]
    assert not only(events, "step:retry")
    ended = await session(http, running["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "PROVIDER_ERROR")
    assert len([record for record in fake.requests if record.session == running["id"]]) == 1


async def test_a_wait_beyond_the_session_s_limit_is_not_waited_for(http: httpx.AsyncClient) -> None:
    fault = {"kind": "status", "code": 429, "retry_after": 600}
    other = "claude-opus-5"  # all calls to it are held back afterwards
    error = the(await play(http, script(fails_first(fault)), timeoutSeconds=30, model=other), "error")
    assert (error["code"], error["retryable"]) == ("PROVIDER_ERROR", True)
    assert "600" in error["message"]
    error = the(await play(http, script(says("Hello.")), timeoutSeconds=30, model=other), "error")
    assert (error["code"], error["retryable"]) == ("PROVIDER_ERROR", True) and "rate limit" in error["message"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient(client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A worker that takes a provider for dead after half a second of silence."""
    folder = tmp_path_factory.mktemp("impatient")
    async with running_stack(client, fake.url, folder, silence_seconds=0.5) as started:
        yield started


@pytest.mark.parametrize("after", [0, 2])
async def test_a_provider_that_falls_silent_is_given_up_and_asked_again(
    impatient: Stack, fake: Running, after: int
) -> None:
    running = await start(impatient.http, script(fails_first({"kind": "stall", "after_deltas": after})))
    events = await follow(impatient.http, running["id"])
    assert "did not answer in time" in the(events, "step:retry")["reason"]
    assert the(events, "complete")["stopReason"] == "endTurn"
    assert fake.bought()[running["id"]] == {0: 1}


@pytest.mark.parametrize("seconds", [0, 60])
async def test_a_reply_that_came_whole_counts_though_its_connection_is_lost_or_never_ends(
    http: httpx.AsyncClient, fake: Running, seconds: int
) -> None:
    running = await start(http, script(fails_first({"kind": "lost_end", "seconds": seconds})))
    events = await follow(http, running["id"])
    assert not only(events, "step:retry")
    assert the(events, "content")["text"] == "one two three four five"
    assert the(events, "complete")["durationMs"] < 10_000
    assert fake.bought()[running["id"]] == {0: 1}


async def test_a_provider_that_is_not_there_is_a_failed_connection_until_the_limit(
    client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("nobody")
    async with running_stack(client, "http://127.0.0.1:9", folder) as alone:
        events = await play(alone.http, "Hello?", timeoutSeconds=2)
    assert "connection to the model's provider failed" in only(events, "step:retry")[0]["reason"]
    assert the(events, "error")["code"] in ("TIMEOUT", "PROVIDER_ERROR")


async def test_without_a_key_the_session_ends_at_once_and_says_what_to_set(
    client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a token of somebody else")
    asked = len(fake.requests)
    async with running_stack(client, fake.url, tmp_path_factory.mktemp("keyless"), model_key=None) as keyless:
        events = await play(keyless.http, "Hello?")
    error = the(events, "error")
    assert (error["code"], error["stopReason"], error["retryable"]) == ("PROVIDER_ERROR", "providerError", False)
    assert "ANTHROPIC_API_KEY" in error["message"]
    assert types(facts(events))[2:] == ["step:start", "message_saved", "error"]
    assert len(fake.requests) == asked, "nothing is sent, with whatever the environment holds"


async def test_what_cut_replies_cost_is_counted_and_ends_a_budget(http: httpx.AsyncClient, fake: Running) -> None:
    cuts: list[dict[str, Any]] = [{"kind": "cut", "after_deltas": 3}, {"kind": "clean_cut", "after_deltas": 3}]
    wasteful = {**fails_first(*cuts), "tools": [{"name": "directory_tree", "input": {}}]}
    running = await start(http, script(wasteful), maxBudget=1000)
    events = await follow(http, running["id"])
    billed = [record.usage for record in fake.requests if record.session == running["id"]]
    prompts = sum(
        usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens for usage in billed
    )
    ended = await session(http, running["id"])
    usage = ended["usage"]
    assert 1 <= len(billed) <= 2, "more or less of the first prompt comes from the cache"
    assert usage["inputTokens"] + usage["cacheReadTokens"] + usage["cacheWriteTokens"] == prompts
    assert the(events, "complete")["stopReason"] == "budgetExceeded"
    assert len(only(events, "budget:warning")) == 1
