"""Context compaction: what grew too long is replaced by a summary, once, and nothing that matters is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from temporalio.client import Client

from activities.transcript import Transcript
from fake_model.faults import Cut, Status
from fake_model.record import Record
from fake_model.scripts import Script, Turn
from fake_model.serve import Running, running
from fake_model.summing import NAME
from tests.support import asking
from tests.support.events import Event
from tests.support.stack import Stack, running_stack
from tests.support.turns import calls, completes, says, script

WINDOW: Final = 3_200
"""Tokens: of every prompt the system prompt and the tools take some eight hundred."""
ROOM: Final[dict[str, Any]] = {"allowedTools": ["read_file"], "workspace": "room", "maxSteps": 60}
READ: Final = calls(("read_file", {"path": "long-{n}.txt"}), thinking="Let me read file {n}.")
BUSY: Final = {"kind": "status", "code": 529, "retry_after": 0.01}
FACT: Final = "the harbour is called Heron 42"


@pytest_asyncio.fixture(loop_scope="session")
async def model() -> AsyncIterator[Running]:
    """A model of its own, whose window is small."""
    async with running(keep_bodies=True, window=WINDOW) as fake:
        yield fake


@pytest_asyncio.fixture(loop_scope="session")
async def small(client: Client, model: Running, tmp_path: Path) -> AsyncIterator[Stack]:
    """A service that knows of the small window."""
    async with running_stack(client, model.url, tmp_path, context_window=WINDOW) as stack:
        yield prepared(stack)


@pytest_asyncio.fixture(loop_scope="session")
async def unaware(client: Client, model: Running, tmp_path: Path) -> AsyncIterator[Stack]:
    """A service that takes the model's window for the usual one."""
    async with running_stack(client, model.url, tmp_path) as stack:
        yield prepared(stack)


def prepared(stack: Stack) -> Stack:
    """With files to read: the first one has a fact, all of them are long."""
    room = stack.settings.workspace_root / "room"
    room.mkdir(parents=True)
    (room / "long-1.txt").write_text(f"FACT: {FACT}\n" + "one\n" * 300)
    for number in range(2, 61):
        (room / f"long-{number}.txt").write_text(f"line of file {number}\n" * 80)
    return stack


def reading(steps: int, *faulty: int) -> str:
    """Read a file at each step, and tell at the last one the facts that are still known then."""
    turns = [{**READ, "faults": [BUSY]} if step in faulty else READ for step in range(1, steps)]
    return script(*turns, completes("{facts}"))


async def played(stack: Stack, content: str, **fields: Any) -> tuple[dict[str, Any], list[Event]]:
    """A session that is over, and its events."""
    started = await asking.start(stack.http, content, **{**ROOM, **fields})
    told = await asking.follow(stack.http, started["id"])
    return await asking.session(stack.http, started["id"]), told


async def transcript(stack: Stack, session_id: str) -> dict[str, Any]:
    return await asking.get(stack.http, f"/api/sessions/{session_id}/transcript")


def summaries(model: Running) -> list[Record]:
    return [record for record in model.requests if record.script == NAME]


def refused(model: Running) -> list[str | None]:
    return [record.error for record in model.requests if record.status == 400]


async def test_a_long_session_stays_within_a_small_window_and_still_knows_what_it_read_first(
    small: Stack, model: Running
) -> None:
    ended, told = await played(small, reading(10))
    assert (ended["status"], ended["step"]) == ("completed", 10), ended
    assert FACT in ended["summary"]
    assert not refused(model) and len(summaries(model)) >= 2
    assert all(FACT in str(record.request["body"]) for record in summaries(model))
    texts = [event.data.get("text") or event.data.get("delta") for event in told if event.type.startswith("content")]
    assert not any("A summary" in (text or "") for text in texts), "a summary is no content"


@pytest.mark.parametrize(
    ("llm", "more"),
    [("claude-haiku-4-5", {}), ("claude-opus-5-5", {}), ("claude-sonnet-4-6", {"temperature": 0.5, "effort": "max"})],
)
async def test_every_kind_of_model_takes_what_a_compaction_asks(
    small: Stack, model: Running, llm: str, more: dict[str, Any]
) -> None:
    ended, _ = await played(small, reading(7), model=llm, **more)
    assert (ended["status"], ended["error"]) == ("completed", None)
    assert FACT in ended["summary"] and len(summaries(model)) >= 1 and not refused(model)


async def test_a_compaction_shows_in_the_transcript_and_in_what_the_session_cost(small: Stack, model: Running) -> None:
    ended, _ = await played(small, reading(8))
    steps = (await transcript(small, ended["id"]))["steps"]
    found = [step for step in steps if step["compaction"] is not None]
    assert len(found) == len(summaries(model)) >= 1
    first = found[0]["compaction"]
    assert FACT in first["summary"] and first["model"] == ended["model"] and first["cost"] > 0
    assert first["tokensBefore"] >= WINDOW * 0.7
    assert len(steps) == 8 and FACT in str(steps[0]["messages"]), "the original stays"
    bought = sum(sum(record.usage.as_usage().values()) for record in model.requests)
    assert ended["usage"]["totalTokens"] == bought
    of_steps = sum(sum(step["usage"].values()) for step in steps)
    assert of_steps + sum(step["compaction"]["usage"]["totalTokens"] for step in found) == bought


async def test_a_summary_counts_for_the_budget(small: Stack, model: Running) -> None:
    ended, told = await played(small, reading(30), maxBudget=9_000)
    assert (ended["status"], ended["stopReason"]) == ("completed", "budgetExceeded")
    begun = [event.data["usedBudget"] for event in told if event.type == "step:start"]
    (first, *_) = [step["step"] for step in (await transcript(small, ended["id"]))["steps"] if step["compaction"]]
    summary = summaries(model)[0].usage
    assert begun[first] - begun[first - 1] > summary.input_tokens + summary.output_tokens


@pytest.mark.parametrize("budget", [3_000, 6_000])
async def test_a_summary_that_the_budget_could_not_pay_for_is_done_without(small: Stack, budget: int) -> None:
    ended, told = await played(small, reading(30), maxBudget=budget)
    assert (ended["status"], ended["stopReason"]) == ("completed", "budgetExceeded")
    used = [event.data["usedBudget"] for event in told if event.type == "step:complete"][-1]
    assert used < budget + 1_000, "no more than results that were not counted before they were billed"


async def test_a_summary_that_was_recorded_is_not_bought_again_when_the_reply_fails(
    small: Stack, model: Running
) -> None:
    ended, told = await played(small, reading(8, *range(1, 8)))
    assert ended["status"] == "completed" and FACT in ended["summary"]
    compacted = [step["step"] for step in (await transcript(small, ended["id"]))["steps"] if step["compaction"]]
    retried = {event.data["step"] for event in told if event.type == "step:retry"}
    assert set(compacted) & retried, "a step with a summary failed once"
    assert len(summaries(model)) == len(compacted)


async def test_a_summary_that_fails_is_asked_for_again_and_announced(small: Stack, model: Running) -> None:
    faults = (Status(retry_after=0.01), Cut())
    model.add_script(Script(name=NAME, turns=(Turn(text="Of all this: {facts}", chunk_chars=4, faults=faults),)))
    ended, told = await played(small, reading(7))
    assert ended["status"] == "completed" and FACT in ended["summary"]
    assert [record.outcome for record in summaries(model)][:3] == ["error", "cut", "completed"]
    assert [event.type for event in told].count("step:retry") == 2
    sent = sum(sum(record.usage.as_usage().values()) - record.usage.output_tokens for record in model.requests)
    assert ended["usage"]["totalTokens"] - ended["usage"]["outputTokens"] == sent, "a summary that was cut is paid for"


async def test_a_summary_that_is_refused_for_good_is_done_without_while_the_prompt_fits(
    small: Stack, model: Running
) -> None:
    model.add_script(Script(name=NAME, turns=(Turn(text="never", faults=(Status(code=403),) * 99),)))
    ended, _ = await played(small, reading(5))
    assert ended["status"] == "completed" and FACT in ended["summary"], ended
    assert {record.status for record in summaries(model)} == {403}


async def test_a_prompt_that_the_provider_finds_too_long_is_compacted_and_sent_again(
    unaware: Stack, model: Running
) -> None:
    ended, told = await played(unaware, reading(9))
    assert ended["status"] == "completed" and FACT in ended["summary"], ended
    assert refused(model) and all("prompt is too long" in (error or "") for error in refused(model))
    assert "step:retry" not in [event.type for event in told]


async def test_a_task_that_does_not_fit_by_itself_ends_with_the_provider_s_words(
    unaware: Stack, model: Running
) -> None:
    ended, _ = await played(unaware, "word " * 4_000)
    assert (ended["status"], ended["stopReason"]) == ("failed", "providerError")
    assert "prompt is too long" in ended["error"]["message"]
    assert len(model.requests) == 1


async def test_a_conversation_goes_on_from_the_summary_that_one_of_its_sessions_made(
    small: Stack, model: Running
) -> None:
    ids, applied, told = [], [], "FACT: the boat is blue\n" + "And much more was said. " * 200
    conversation = await asking.conversation(small.http)
    for content in (script(says(told)), script(says("Well. {facts}")), script(says("Still: {facts}"))):
        ended, events = await played(small, content, conversationId=conversation)
        ids.append(ended["id"])
        applied.append(events[0].data["compactionApplied"])
    assert applied == [False, True, True] and len(summaries(model)) == 1
    shown = await transcript(small, ids[1])
    assert shown["steps"][0]["compaction"] is not None and "much more" not in str(shown["opening"])
    later = await transcript(small, ids[2])
    assert later["steps"][0]["compaction"] is None
    assert "earlier messages are summarised" in later["opening"][0]["content"][0]["text"]
    assert "the boat is blue" in later["steps"][0]["messages"][0]["content"][0]["text"]
    await played(small, script(says("Nothing known.")), conversationId=await asking.conversation(small.http))
    assert "boat" not in str(model.requests[-1].request["body"]), "another conversation has its own"


async def test_a_worker_that_begins_in_the_middle_sends_the_same_prompt(small: Stack) -> None:
    ended, _ = await played(small, reading(10))
    row = await small.store.sessions.row(ended["id"])
    warm, cold = Transcript(small.store), Transcript(small.store)
    assert row["compacted_step"] < 10
    await warm.view(row, row["compacted_step"])
    assert await warm.view(row, 10) == await cold.view(row, 10)


async def test_a_cancel_stops_the_summary_too(small: Stack, model: Running) -> None:
    model.add_script(Script(name=NAME, turns=(Turn(text_tokens=200, token_ms=100),)))
    started = await asking.start(small.http, reading(8), **ROOM)
    while not summaries(model):
        await asyncio.sleep(0.01)
    assert (await asking.cancel(small.http, started["id"])).status_code == 202
    await asking.follow(small.http, started["id"])
    ended = await asking.session(small.http, started["id"])
    assert ended["status"] == "cancelled"
    (summary,) = summaries(model)
    while summary.outcome is None:
        await asyncio.sleep(0.01)
    assert summary.outcome == "aborted"


async def test_an_estimate_that_is_close_is_counted_by_the_provider(small: Stack, model: Running) -> None:
    conversation = await asking.conversation(small.http)
    await played(small, script(says("And much more. " * 150)), conversationId=conversation)
    _, told = await played(small, script(says("Well.")), conversationId=conversation)
    assert told[0].data["compactionApplied"] is False and not summaries(model), (
        "it is some 2,000 tokens, 2,600 at worst"
    )


async def test_what_the_user_said_meanwhile_is_still_there_word_for_word(small: Stack, model: Running) -> None:
    slow = {**READ, "first_token_ms": 300}
    started = await asking.start(small.http, script(slow, slow, completes("never")), **ROOM)
    word = script({**READ, "times": 8}, completes("{facts}"), task="Mind the FACT: said in between")
    async with asking.following(small.http, started["id"]) as stream:
        await stream.until("step:start")
        answer = await small.http.post(f"/api/sessions/{started['id']}/messages", json={"content": word})
        assert answer.status_code < 300, answer.text
        await stream.rest()
    ended = await asking.session(small.http, started["id"])
    last = str(model.requests[-1].request["body"])
    assert ended["status"] == "completed" and summaries(model), ended["error"]
    assert "Mind the FACT: said in between" in last and FACT in last
