"""Claims about approvals from outside: asked for, given, refused, expired (CONTRACT §4)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from fake_model.serve import Running
from tests.support.asking import (
    Json,
    cancel,
    conversation,
    follow,
    following,
    get,
    names_field,
    play,
    problem,
    session,
    start,
)
from tests.support.events import only, the
from tests.support.stack import Stack
from tests.support.turns import calls, completes, says, script

WRITE = ("write_file", {"path": "a.txt", "content": "from the model"})
LOOK: tuple[str, Json] = ("directory_tree", {})
READ = ("read_file", {"path": "a.txt"})
WITH_TOOLS = "/api/chat/conversations/{}/messages/with-tools"


async def asked(http: httpx.AsyncClient, session_id: str, count: int = 1) -> list[Json]:
    """The session's pending approvals, as soon as there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = (await get(http, "/api/approvals", status="pending", sessionId=session_id))["approvals"]
            if len(found) == count:
                return list(found)
            await asyncio.sleep(0.02)


async def decide(http: httpx.AsyncClient, approval: Json, decision: str, **more: Any) -> httpx.Response:
    path = f"/api/sessions/{approval['sessionId']}/approvals/{approval['id']}"
    return await http.post(path, json={"decision": decision, **more})


async def test_a_call_waits_for_its_approval_and_runs_when_it_is_given(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(LOOK, WRITE), calls(READ), says("Done.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    assert approval["id"] == approval["approvalId"] and approval["status"] == "pending"
    assert (approval["name"], approval["arguments"]) == WRITE
    assert approval["securityLevel"] == "moderate" and approval["conversationId"] == running["conversationId"]
    told = await session(http, running["id"])
    assert told["progress"]["phase"] in ("awaitingApproval", "runningTools")
    answer = await decide(http, approval, "allow-once")
    assert answer.status_code == 200, answer.text
    given = answer.json()["approval"]
    assert (given["status"], given["decision"], given["by"]) == ("approved", "allow-once", "local")
    events = await follow(http, running["id"])
    kinds = [event.type for event in events]
    assert kinds.index("approval:required") < kinds.index("approval:resolved")
    results = {data["name"]: data for data in only(events, "tool:result")}
    assert results["write_file"]["status"] == "success"
    assert "from the model" in results["read_file"]["result"]["content"]
    assert the(events, "approval:required")["expiresAt"] == approval["expiresAt"]
    resolved = the(events, "approval:resolved")
    assert resolved == {"approvalId": approval["id"], "decision": "allow-once", "by": "local"}


async def test_a_denied_call_is_an_error_with_the_reason_and_the_session_goes_on(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(WRITE), completes("It was denied.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    await decide(http, approval, "deny", reason="use b.txt instead")
    events = await follow(http, running["id"])
    error = only(events, "tool:result")[0]["result"]["error"]
    assert error["code"] == "DENIED" and "use b.txt instead" in error["message"]
    assert the(events, "complete")["stopReason"] == "taskCompleted"


async def test_of_two_different_decisions_at_once_one_wins_and_the_other_is_told(http: httpx.AsyncClient) -> None:
    for _ in range(5):
        running = await start(http, script(calls(WRITE), says("Done.")), securityMode="ask")
        (approval,) = await asked(http, running["id"])
        answers = await asyncio.gather(decide(http, approval, "allow-once"), decide(http, approval, "deny"))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = next(answer for answer in answers if answer.status_code == 200).json()["approval"]
        lost = problem(next(answer for answer in answers if answer.status_code == 409), 409, "APPROVAL_DECIDED")
        assert lost["approval"] == won
        events = await follow(http, running["id"])
        assert [data["decision"] for data in only(events, "approval:resolved")] == [won["decision"]]
        ran = only(events, "tool:result")[0]["status"] == "success"
        assert ran == (won["status"] == "approved")


async def test_the_same_decision_sent_again_is_answered_like_the_first_time(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(WRITE), says("Done.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    first = await decide(http, approval, "allow-once")
    again = await decide(http, approval, "allow-once")
    assert (again.status_code, again.json()) == (200, first.json())
    problem(await decide(http, approval, "deny"), 409, "APPROVAL_DECIDED")
    await follow(http, running["id"])
    problem(await decide(http, approval, "deny"), 409, "APPROVAL_DECIDED")


async def test_edited_arguments_are_what_runs_and_the_model_is_told(http: httpx.AsyncClient, fake: Running) -> None:
    running = await start(http, script(calls(WRITE), calls(READ), says("Done.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    refused = await decide(http, approval, "allow-once", arguments={"path": 7})
    assert "content" in names_field(refused, "arguments")["error"]
    names_field(await decide(http, approval, "deny", arguments=WRITE[1]), "arguments")
    edited = {"path": "a.txt", "content": "from the reviewer"}
    answer = await decide(http, approval, "allow-once", arguments=edited)
    assert answer.status_code == 200, answer.text
    results = {data["name"]: data["result"] for data in only(await follow(http, running["id"]), "tool:result")}
    assert "from the reviewer" in results["read_file"]["content"]
    assert results["write_file"]["content"].startswith("(Run with the arguments of the one who approved it:")
    audit = (await get(http, f"/api/sessions/{running['id']}/audit"))["entries"]
    assert [(entry["kind"], entry["arguments"]) for entry in audit[:2]] == [("approval", edited), ("call", edited)]


async def test_the_same_decision_with_other_arguments_is_told_that_it_was_not_the_first(
    http: httpx.AsyncClient,
) -> None:
    running = await start(http, script(calls(WRITE), says("Done.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    edited = {"path": "a.txt", "content": "from the first"}
    first = await decide(http, approval, "allow-once", arguments=edited)
    again = await decide(http, approval, "allow-once", arguments=edited)
    assert (again.status_code, again.json()) == (200, first.json())
    other = {"path": "a.txt", "content": "from the second"}
    problem(await decide(http, approval, "allow-once", arguments=other), 409, "APPROVAL_DECIDED")
    problem(await decide(http, approval, "allow-once"), 409, "APPROVAL_DECIDED")
    await follow(http, running["id"])


async def test_edited_arguments_stay_within_what_the_session_may_call(http: httpx.AsyncClient) -> None:
    echo = ("exec", {"command": "echo one"})
    running = await start(http, script(calls(echo), says("Done.")), securityMode="ask", allowedTools=["exec(echo *)"])
    (approval,) = await asked(http, running["id"])
    refused = await decide(http, approval, "allow-once", arguments={"command": "echo two; id"})
    assert "allowedTools" in names_field(refused, "arguments")["error"]
    answer = await decide(http, approval, "allow-once", arguments={"command": "echo two"})
    assert answer.status_code == 200, answer.text
    (result,) = only(await follow(http, running["id"]), "tool:result")
    assert "two" in result["result"]["content"]


async def test_a_secret_in_a_decision_or_in_the_last_call_is_told_to_nobody(http: httpx.AsyncClient) -> None:
    token = "ghp_" + "aB3dE5gH7j" * 3 + "abcdef"
    running = await start(http, script(calls(WRITE), says("Done.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    edited = {"path": "a.txt", "content": token}
    await decide(http, approval, "allow-once", arguments=edited, reason=f"it is {token}")
    events = await follow(http, running["id"])
    audit = (await http.get(f"/api/sessions/{running['id']}/audit")).text
    listed = (await http.get("/api/approvals", params={"sessionId": running["id"]})).text
    assert "it is [secret:github]" in audit
    assert token not in audit + listed + str([event.data for event in events])
    told = the(await play(http, script(completes(f"The token is {token}."))), "summary")
    assert told["summary"] == "The token is [secret:github]."


async def test_what_is_allowed_always_is_not_asked_again_in_that_conversation(http: httpx.AsyncClient) -> None:
    log = ("exec", {"command": "echo one"})
    again = ("exec", {"command": "echo two"})
    other = ("exec", {"command": "ls"})
    running = await start(http, script(calls(log), calls(again), calls(other), says("Done.")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    await decide(http, approval, "allow-always")
    (second,) = await asked(http, running["id"])
    assert second["arguments"] == other[1], "the second echo ran without asking"
    await decide(http, second, "deny")
    await follow(http, running["id"])
    events = await play(
        http, script(calls(again), says("Hi.")), securityMode="ask", conversationId=running["conversationId"]
    )
    assert not only(events, "approval:required")
    fresh = await start(http, script(calls(again), says("Hi.")), securityMode="ask")
    (approval,) = await asked(http, fresh["id"])
    await decide(http, approval, "deny")
    await follow(http, fresh["id"])


async def test_an_approval_that_nobody_gives_ends_with_the_session(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(WRITE), says("x")), securityMode="ask", timeoutSeconds=2)
    (approval,) = await asked(http, running["id"])
    assert approval["expiresAt"] == running["deadline"]
    events = await follow(http, running["id"])
    assert events[-1].type in ("error", "message_saved")
    assert the(events, "approval:resolved")["decision"] == "expired"
    told = problem(await decide(http, approval, "allow-once"), 409, "APPROVAL_EXPIRED")
    assert told["approval"]["status"] == "expired"


@pytest.mark.parametrize("mode", ["now", "graceful"])
async def test_a_cancel_does_not_wait_for_a_decision(http: httpx.AsyncClient, mode: str) -> None:
    running = await start(http, script(calls(WRITE), says("x")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    assert (await cancel(http, running["id"], mode=mode)).status_code == 202
    events = await asyncio.wait_for(follow(http, running["id"]), 15)
    assert the(events, "error")["code"] == "CANCELLED"
    assert only(events, "tool:result")[0]["result"]["error"]["code"] == "CANCELLED"
    problem(await decide(http, approval, "allow-once"), 409, "APPROVAL_EXPIRED")


async def test_an_approval_is_found_under_its_own_session_and_conversation_alone(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(WRITE), says("x")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    other = {**approval, "sessionId": "sess_other"}
    problem(await decide(http, other, "deny"), 404, "NOT_FOUND")
    problem(await decide(http, {**approval, "id": "appr_none"}, "deny"), 404, "NOT_FOUND")
    body = {"conversationId": "conv_other", "approvalId": approval["id"], "decision": "deny"}
    problem(await http.post("/api/chat/tools/approve", json=body), 404, "NOT_FOUND")
    names_field(await decide(http, approval, "perhaps"), "decision")
    names_field(await http.get("/api/approvals", params={"status": "open"}), "status")
    body["conversationId"] = running["conversationId"]
    answer = await http.post("/api/chat/tools/approve", json=body)
    assert answer.status_code == 200 and answer.json()["approval"]["status"] == "denied"
    await follow(http, running["id"])


async def test_with_tools_answers_when_it_first_waits_and_the_session_goes_on(http: httpx.AsyncClient) -> None:
    talk = await conversation(http)
    said = script(calls(LOOK), calls(WRITE), says("Written."))
    answer = await http.post(WITH_TOOLS.format(talk), json={"content": said})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert set(told) == {"userMessage", "assistantMessage", "toolCalls", "usage", "pendingApprovals", "session"}
    assert told["assistantMessage"] is None and told["userMessage"]["content"] == said
    assert [call["name"] for call in told["toolCalls"]] == ["directory_tree", "write_file"]
    assert [call["status"] for call in told["toolCalls"]] == ["success", "pending"]
    assert told["session"]["maxSteps"] == 5 and told["session"]["securityMode"] == "ask"
    assert answer.headers["x-session-id"] == told["session"]["id"]
    (approval,) = told["pendingApprovals"]
    assert (await get(http, f"/api/approvals/{approval['id']}"))["approval"] == approval
    async with following(http, told["session"]["id"]) as stream:
        await decide(http, approval, "allow-once")
        events = await stream.rest()
    assert the(events, "summary")["summary"] == "Written."


async def test_with_tools_answers_with_the_message_when_nothing_had_to_be_asked(http: httpx.AsyncClient) -> None:
    talk = await conversation(http)
    answer = await http.post(WITH_TOOLS.format(talk), json={"content": script(calls(LOOK), says("An empty folder."))})
    told = answer.json()
    assert told["assistantMessage"]["content"] == "An empty folder."
    assert told["pendingApprovals"] == [] and told["session"]["status"] == "completed"
    assert told["usage"] == told["assistantMessage"]["usage"]
    plain = await http.post(WITH_TOOLS.format(talk), json={"content": script(says("Hi.")), "enableTools": False})
    assert plain.json()["toolCalls"] == [] and plain.json()["assistantMessage"]["content"] == "Hi."
    names_field(await http.post(WITH_TOOLS.format(talk), json={"content": "x", "maxSteps": 6}), "maxSteps")
    problem(await http.post(WITH_TOOLS.format("conv_none"), json={"content": "x"}), 404, "NOT_FOUND")


async def test_a_session_that_operators_stop_leaves_no_approval_open(stack: Stack, http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(WRITE), says("x")), securityMode="ask")
    (approval,) = await asked(http, running["id"])
    await stack.client.get_workflow_handle(running["id"]).terminate("by hand")
    try:
        events = await asyncio.wait_for(follow(http, running["id"]), 100)
    except TimeoutError:
        told, fate = await session(http, running["id"]), await stack.parts.temporal.fate(running["id"])
        pytest.fail(f"it is {told['status']}, and in Temporal {fate}")
    assert the(events, "error")["code"] == "INTERNAL", [event.type for event in events]
    problem(await decide(http, approval, "allow-once"), 409, "APPROVAL_EXPIRED")
