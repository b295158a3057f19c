"""The event stream of a run (CONTRACT §3): which events, in which order, in which bytes, for every kind of reader."""

from __future__ import annotations

import json
from itertools import pairwise
from math import ceil

import httpx

from tests.support.asking import AGENTIC, conversation, follow, pages, session, start
from tests.support.events import facts, only, opened, the, types
from tests.support.turns import calls, completes, script

WRITE = ("write_file", {"path": "a.txt", "content": "one"})
ECHO = ("exec", {"command": "echo hello"})
MISSING = ("read_file", {"path": "missing.txt"})
RUN = script(
    calls(WRITE, ECHO, MISSING, thinking="First I think about it.", text="Let me work.", chunk_chars=6, token_ms=100),
    completes("All is done.", nextSteps=["rest"]),
)
STEP_1 = ["step:start", "thinking:start", "thinking:end", "content"]
STEP_1 += [*["tool:call"] * 3, *["tool:result"] * 3, "step:complete"]
FACTS = ["user_message", "session:start", *STEP_1, "step:start", "tool:call", "tool:result", "step:complete"]
FACTS += ["summary", "complete", "message_saved"]


async def test_a_run_tells_its_facts_in_the_contract_s_order_with_ids_from_1_without_gaps(
    http: httpx.AsyncClient,
) -> None:
    async with opened(http, "POST", AGENTIC.format(await conversation(http)), json={"content": RUN}) as stream:
        events = await stream.rest()
    assert types(facts(events)) == FACTS
    assert [event.id for event in facts(events)] == [str(n) for n in range(1, len(FACTS) + 1)]
    assert all(before.place < after.place for before, after in pairwise(events))
    assert all(event.place[1] == 0 or after.place[0] >= event.place[0] for event, after in pairwise(events))


async def test_deltas_come_before_the_fact_that_holds_them_in_full(http: httpx.AsyncClient) -> None:
    async with opened(http, "POST", AGENTIC.format(await conversation(http)), json={"content": RUN}) as stream:
        events = await stream.rest()
    kinds = types(events)
    thinking = [data["delta"] for data in only(events, "thinking:update")]
    content = [data["delta"] for data in only(events, "content:delta")]
    assert len(content) > 1 and "".join(content) == the(events, "content")["text"] == "Let me work."
    assert "".join(thinking) == the(events, "thinking:end")["text"] == "First I think about it."
    begin, end = kinds.index("thinking:start"), kinds.index("thinking:end")
    assert all(begin < at < end for at, kind in enumerate(kinds) if kind == "thinking:update")
    assert all(begin < at < kinds.index("content") for at, kind in enumerate(kinds) if kind == "content:delta")
    progress = [data["delta"] for data in only(events, "tool:progress")]
    assert "hello" in "".join(progress)


async def test_a_reply_that_arrives_all_at_once_keeps_the_order_of_thinking_and_content(
    http: httpx.AsyncClient,
) -> None:
    content = script({"thinking": "A thought before the words.", "text": "The words.", "chunk_chars": 3})
    async with opened(http, "POST", AGENTIC.format(await conversation(http)), json={"content": content}) as stream:
        events = await stream.rest()
    kinds = types(events)
    assert kinds.index("thinking:start") < kinds.index("content:delta")
    spoken = [kind for kind in kinds if kind in ("thinking:update", "content:delta")]
    assert spoken == sorted(spoken, reverse=True), "reasoning comes before what is said"


async def test_every_fact_carries_the_fields_of_its_row_in_the_contract(http: httpx.AsyncClient) -> None:
    started = await start(http, RUN, maxBudget=500_000)
    events = await follow(http, started["id"])
    asked, begun = the(events, "user_message"), the(events, "session:start")
    assert asked["content"] == RUN and asked["compactionApplied"] is False and asked["messageCount"] == 1
    assert begun["sessionId"] == started["id"] and begun["conversationId"] == started["conversationId"]
    assert (begun["provider"], begun["effort"], begun["maxSteps"]) == ("anthropic", "medium", 20)
    assert begun["deadline"] == started["deadline"] and begun["goal"].startswith("Do it.")
    assert [(data["step"], data["attempt"]) for data in only(events, "step:start")] == [(1, 1), (2, 1)]
    for call in only(events, "tool:call"):
        assert call["id"] == call["toolCallId"] and call["args"] == call["arguments"]
        assert call["securityLevel"] in ("safe", "moderate", "dangerous")
    results = {data["name"]: data for data in only(events, "tool:result")}
    assert results["exec"]["result"]["success"] is True and "hello" in results["exec"]["result"]["content"]
    failed = results["read_file"]
    assert failed["status"] == "error" and failed["result"]["success"] is False
    assert set(failed["result"]["error"]) == {"code", "message"}
    assert not failed["result"]["error"]["message"].startswith(failed["result"]["error"]["code"]), "said once"
    done = only(events, "step:complete")
    assert [data["toolCallsInStep"] for data in done] == [3, 1]
    assert [data["stepsRemaining"] for data in done] == [19, 18]
    assert done[1]["usedBudget"] + done[1]["budgetRemaining"] == 500_000
    read = sum(data["usage"]["cacheReadTokens"] for data in done)
    whole = sum(data["usage"]["totalTokens"] for data in done)
    assert done[1]["usedBudget"] == whole - read + ceil(read / 10), "ten tokens from the cache count as one"


async def test_the_end_says_what_was_done_and_what_it_cost(http: httpx.AsyncClient) -> None:
    started = await start(http, RUN)
    events = await follow(http, started["id"])
    summary, complete = the(events, "summary"), the(events, "complete")
    assert summary == {"summary": "All is done.", "artifacts": [], "nextSteps": ["rest"]}
    assert (complete["stopReason"], complete["totalSteps"]) == ("taskCompleted", 2)
    ended = await session(http, started["id"])
    assert complete["totalTokens"] == ended["usage"]["totalTokens"]
    assert complete["cost"] == ended["cost"] > 0
    assert [call["name"] for call in complete["toolCalls"]] == ["write_file", "exec", "read_file", "complete_task"]
    assert the(events, "message_saved")["id"] == ended["messageId"]
    assert ended["summary"] == "All is done."


async def test_frames_are_an_id_and_one_data_line_and_the_headers_forbid_caches_and_buffers(
    http: httpx.AsyncClient,
) -> None:
    async with opened(http, "POST", AGENTIC.format(await conversation(http)), json={"content": RUN}) as stream:
        await stream.rest()
    headers = stream.response.headers
    assert headers["content-type"].split(";")[0] == "text/event-stream"
    assert headers["cache-control"] == "no-store" and headers["x-accel-buffering"] == "no"
    assert stream.retries == [b"retry: 1000"] and stream.raw.startswith(b"retry: 1000\n\n")
    assert b"event:" not in stream.raw.replace(b'"event:', b"") and b"\r" not in stream.raw
    for event in stream.events:
        assert json.loads(event.raw.split(b"data: ", 1)[1])["timestamp"] > 1_700_000_000_000


async def test_live_readers_late_readers_and_json_pages_are_told_the_same_facts(http: httpx.AsyncClient) -> None:
    async with opened(http, "POST", AGENTIC.format(await conversation(http)), json={"content": RUN}) as stream:
        live = facts(await stream.rest())
    session_id = stream.response.headers["x-session-id"]
    late = await follow(http, session_id)
    assert [event.raw for event in late] == [event.raw for event in live], "a replay has facts only, byte for byte"
    paged = await pages(http, session_id)
    assert [(e.id, e.type, e.data, e.timestamp) for e in paged] == [(e.id, e.type, e.data, e.timestamp) for e in live]


async def test_hidden_thinking_appears_in_no_event(http: httpx.AsyncClient) -> None:
    async with opened(
        http, "POST", AGENTIC.format(await conversation(http)), json={"content": RUN, "showThinking": False}
    ) as stream:
        events = await stream.rest()
    assert types(facts(events)) == [kind for kind in FACTS if not kind.startswith("thinking")]
    assert not [kind for kind in types(events) if kind.startswith("thinking")]
    assert b"First I think" not in stream.raw.replace(events[0].raw, b"").replace(events[1].raw, b"")
