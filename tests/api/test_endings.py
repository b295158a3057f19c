"""How sessions end (CONTRACT §1-§3): cancel, time limit, budgets, loops, and `complete_task`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from fake_model.serve import Running
from tests.support.asking import cancel, conversation, follow, following, get, play, problem, session, start
from tests.support.events import Event, facts, only, the, types
from tests.support.turns import calls, completes, says, script, slowly

SLEEP = ("exec", {"command": "echo begun; sleep 30"})
CUT_ENDING = ["message_saved", "error"]


async def last_message(http: httpx.AsyncClient, conversation_id: str) -> dict[str, Any]:
    message: dict[str, Any] = (await get(http, f"/api/chat/conversations/{conversation_id}"))["messages"][-1]
    return message


async def test_a_cancel_while_the_model_speaks_keeps_what_was_said_and_closes_the_model_s_stream(
    http: httpx.AsyncClient, fake: Running
) -> None:
    running = await start(http, script(slowly()))
    async with following(http, running["id"]) as stream:
        await stream.until("content:delta")
        answer = await cancel(http, running["id"], reason="not needed")
        asked_at = time.time()
        events = await stream.rest()
    assert answer.status_code == 202
    told = answer.json()
    assert set(told) == {"session", "cancel"} and told["session"]["id"] == running["id"]
    assert types(facts(events))[3:] == ["session:cancelling", "content", *CUT_ENDING]
    assert the(events, "session:cancelling") == {"mode": "now", "reason": "not needed", "by": "local"}
    kept = the(events, "content")
    assert kept["partial"] is True and kept["text"]
    assert "".join(data["delta"] for data in only(events, "content:delta")).startswith(kept["text"][:10])
    error = the(events, "error")
    assert (error["code"], error["stopReason"], error["retryable"]) == ("CANCELLED", "cancelled", True)
    assert error["sessionId"] == running["id"] and "not needed" in error["message"]
    saved = await last_message(http, running["conversationId"])
    assert saved["id"] == the(events, "message_saved")["id"] and saved["content"] == kept["text"]
    ended = await session(http, running["id"])
    assert ended["status"] == "cancelled" and ended["error"] == {"code": "CANCELLED", "message": error["message"]}
    assert ended["messageId"] == saved["id"]
    call = next(record for record in fake.requests if record.session == running["id"])
    async with asyncio.timeout(2):
        while call.outcome is None:
            await asyncio.sleep(0.01)
    assert call.outcome == "aborted" and call.closed_at is not None and call.closed_at - asked_at < 2


async def test_a_second_cancel_changes_nothing_and_one_after_the_end_is_a_409(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(SLEEP)))
    async with following(http, running["id"]) as stream:
        await stream.until("tool:progress")
        first = await cancel(http, running["id"], mode="graceful")
        second = await cancel(http, running["id"], mode="graceful", reason="again")
        third = await http.post(f"/api/sessions/{running['id']}/cancel")
        events = await stream.rest()
    requested = {answer.json()["cancel"]["requestedAt"] for answer in (first, second, third)}
    assert len(requested) == 1, "it was requested once, the first time"
    assert [data["mode"] for data in only(events, "session:cancelling")] == ["graceful", "now"]
    result = the(events, "tool:result")
    assert (result["status"], result["result"]["error"]["code"]) == ("error", "CANCELLED")
    problem(await cancel(http, running["id"]), 409, "SESSION_ENDED")
    problem(await cancel(http, running["id"], mode="graceful"), 409, "SESSION_ENDED")


async def test_a_graceful_cancel_lets_the_running_step_end(http: httpx.AsyncClient) -> None:
    quick = ("exec", {"command": "sleep 0.4; echo finished"})
    running = await start(http, script(calls(quick), says("never said")))
    async with following(http, running["id"]) as stream:
        await stream.until("tool:call")
        assert (await cancel(http, running["id"], mode="graceful")).status_code == 202
        events = await stream.rest()
    assert "finished" in the(events, "tool:result")["result"]["content"]
    assert types(facts(events))[-4:] == ["tool:result", "step:complete", *CUT_ENDING]
    assert the(events, "error")["code"] == "CANCELLED"


@pytest.mark.parametrize("body", [{"mode": "later"}, {"reason": 5}, {"reason": "r" * 1001}, {"force": True}])
async def test_a_cancel_of_another_shape_is_a_422_and_cancels_nothing(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    running = await start(http, script(slowly(0.2, pieces=10)))
    problem(await cancel(http, running["id"], **body), 422, "INVALID")
    assert (await follow(http, running["id"]))[-1].type == "message_saved"


async def test_at_the_time_limit_the_reply_is_cut_and_kept_and_the_stream_closes(http: httpx.AsyncClient) -> None:
    began = time.monotonic()
    running = await start(http, script(slowly()), timeoutSeconds=1)
    events = await follow(http, running["id"])
    assert 0.8 < time.monotonic() - began < 10
    assert types(facts(events))[3:] == ["content", *CUT_ENDING]
    assert the(events, "content")["partial"] is True
    error = the(events, "error")
    assert (error["code"], error["stopReason"], error["retryable"]) == ("TIMEOUT", "timeout", True)
    ended = await session(http, running["id"])
    assert (ended["status"], ended["stopReason"]) == ("failed", "timeout")
    saved = await last_message(http, running["conversationId"])
    assert saved["content"] == the(events, "content")["text"] and saved["role"] == "assistant"


async def test_at_the_time_limit_a_tool_is_stopped_and_its_call_answered(http: httpx.AsyncClient) -> None:
    events = await play(http, script(calls(SLEEP, text="I wait.")), timeoutSeconds=1)
    result = the(events, "tool:result")
    assert result["result"]["error"]["code"] == "TIMEOUT"
    assert types(facts(events))[-4:] == ["tool:result", "step:complete", *CUT_ENDING]
    assert the(events, "error")["code"] == "TIMEOUT"
    ended = the(events, "session:start")
    saved = await last_message(http, ended["conversationId"])
    assert saved["content"] == "I wait."
    assert [(call["name"], call["status"]) for call in saved["toolCalls"]] == [("exec", "error")]


async def test_complete_task_ends_the_session_with_its_summary_artifacts_and_next_steps(
    http: httpx.AsyncClient,
) -> None:
    artifacts = [{"type": "file", "id": "a.txt", "description": "The answer"}]
    done = completes("All done.", artifacts=artifacts, nextSteps=["Read it"])
    events = await play(http, script(done, says("never said")))
    assert the(events, "summary") == {"summary": "All done.", "artifacts": artifacts, "nextSteps": ["Read it"]}
    assert the(events, "complete")["stopReason"] == "taskCompleted"
    saved = await last_message(http, the(events, "session:start")["conversationId"])
    assert saved["content"] == "All done."


async def test_max_steps_ends_the_session_after_the_tools_of_its_last_step(http: httpx.AsyncClient) -> None:
    look = calls(("directory_tree", {"path": "."}), text="Look {n}.")
    other = calls(("exec", {"command": "echo {n}"}))
    events = await play(http, script(look, other, look, other), maxSteps=2)
    assert the(events, "complete")["stopReason"] == "maxSteps"
    assert [data["stepsRemaining"] for data in only(events, "step:complete")] == [1, 0]
    assert len(only(events, "tool:result")) == 2
    assert the(events, "summary")["summary"]


async def test_the_token_budget_warns_once_at_80_percent_and_then_ends_the_session(http: httpx.AsyncClient) -> None:
    turn = calls(("exec", {"command": "echo {n}"}), output_tokens=20_000)
    events = await play(http, script(*[turn] * 9), maxBudget=100_000)
    warning = the(events, "budget:warning")
    assert warning["maxBudget"] == 100_000 and warning["percentUsed"] == warning["usedBudget"] // 1000 >= 80
    kinds = types(facts(events))
    assert kinds[kinds.index("budget:warning") - 1] == "step:complete"
    assert the(events, "complete")["stopReason"] == "budgetExceeded"
    done = only(events, "step:complete")
    assert 78_000 < done[-1]["usedBudget"] < 101_000
    assert done[-1]["budgetRemaining"] < 20_000 + 1_000, "the last reply alone, in the next prompt, would take that"


async def test_one_reply_beyond_the_whole_budget_warns_as_well(http: httpx.AsyncClient) -> None:
    turn = calls(("exec", {"command": "echo {n}"}), output_tokens=5_000)
    events = await play(http, script(turn, turn), maxBudget=1_000)
    assert the(events, "budget:warning")["percentUsed"] > 100
    assert the(events, "complete")["stopReason"] == "budgetExceeded"
    assert len(only(events, "step:start")) == 1


async def test_the_money_budget_ends_the_session(http: httpx.AsyncClient) -> None:
    turn = calls(("exec", {"command": "echo {n}"}), output_tokens=10_000)
    events = await play(http, script(*[turn] * 5), maxCostUsd=0.15)
    complete = the(events, "complete")
    assert complete["stopReason"] == "budgetExceeded"
    assert 0.12 < complete["cost"] < 0.155, "no reply may be longer than what is left pays for"
    warning = the(events, "budget:warning")
    assert (warning["maxBudget"], warning["maxCostUsd"]) == (None, 0.15) and warning["percentUsed"] >= 80


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-4-5"])
async def test_a_reply_that_its_budget_cuts_off_is_no_end_of_the_turn(http: httpx.AsyncClient, model: str) -> None:
    talk = says("word " * 2_000, thinking="Let me see.")
    events = await play(http, script(talk), maxBudget=1_000, model=model)
    assert the(events, "complete")["stopReason"] == "budgetExceeded"
    assert 3_000 < len(the(events, "content")["text"]) < 4_100, "what was written until then is kept"
    assert the(events, "complete")["outputTokens"] == 1_000


async def test_steps_sessions_and_conversations_tell_what_they_cost(http: httpx.AsyncClient, fake: Running) -> None:
    talk = await conversation(http)
    ids = []
    for content in (script(calls(("exec", {"command": "echo {n}"})), says("Done.")), script(says("Hello."))):
        events = await play(http, content, conversationId=talk)
        ids.append(the(events, "session:start")["sessionId"])
    sessions = [await session(http, one) for one in ids]
    for one in sessions:
        steps = (await get(http, f"/api/sessions/{one['id']}/transcript"))["steps"]
        assert sum(step["cost"] for step in steps) == pytest.approx(one["cost"], abs=1e-12) and one["cost"] > 0
    whole = await get(http, f"/api/chat/conversations/{talk}")
    assert whole["cost"] == pytest.approx(sum(one["cost"] for one in sessions))
    assert whole["usage"] == {kind: sum(one["usage"][kind] for one in sessions) for kind in whole["usage"]}
    export = await get(http, f"/api/chat/conversations/{talk}/export")
    assert (export["usage"], export["cost"]) == (whole["usage"], whole["cost"])
    await play(http, script(says("For nothing?")), conversationId=talk, model="claude-unheard-of-9")
    assert (await get(http, f"/api/chat/conversations/{talk}"))["cost"] is None, "a part of it is not known"


async def test_the_same_call_three_times_running_ends_the_session(http: httpx.AsyncClient) -> None:
    same = calls(("exec", {"command": "echo same"}))
    other = calls(("exec", {"command": "echo other"}))
    events = await play(http, script(same, same, other, *[same] * 5))
    assert the(events, "complete")["stopReason"] == "loopDetected"
    assert len(only(events, "tool:call")) == 6


async def test_an_end_is_told_once_and_every_call_has_one_result(http: httpx.AsyncClient) -> None:
    """Over endings of every kind, side by side."""
    contents: list[tuple[str, dict[str, Any]]] = [
        (script(says("Yes.")), {}),
        (script(calls(SLEEP, SLEEP)), {"timeoutSeconds": 1}),
        (script(completes("Done.")), {}),
        (script(calls(("no_such", {}))), {"allowedTools": []}),
    ]
    for events in await asyncio.gather(*(play(http, content, **fields) for content, fields in contents)):
        _is_whole(events)


def _is_whole(events: list[Event]) -> None:
    kinds = types(events)
    assert kinds.count("complete") + kinds.count("error") == 1, kinds
    assert kinds.count("message_saved") == 1
    called = [data["toolCallId"] for data in only(events, "tool:call")]
    assert sorted(called) == sorted(data["toolCallId"] for data in only(events, "tool:result"))


async def test_a_session_cancelled_before_a_step_began_ends_all_the_same(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()), conversationId=await conversation(http))
    assert (await cancel(http, running["id"])).status_code == 202
    events = await follow(http, running["id"])
    assert types(facts(events))[-2:] == CUT_ENDING and the(events, "error")["code"] == "CANCELLED"
    _is_whole(events)
