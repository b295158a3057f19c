"""Claims about steps: begun once, announced again, fenced, and never bought twice (G3, DESIGN §3)."""

import asyncio

import pytest

from session.usage import Usage
from session.wire import CallRef, Ending, ModelReply
from store import Store
from store.ledger import Fenced, NotFound, SessionOver
from store.steps import Spent
from tests.store.acting import OK, Clock, new_call, new_session, reply, step, story, tool, types


async def test_the_first_begin_starts_the_step_and_the_session(store: Store, clock: Clock) -> None:
    session = await new_session(store, maxBudget=4000)
    clock.now += 5
    begun = await store.steps.begin(step(session), 1)
    assert (begun.recorded, begun.row["goal"]) == (None, "do it")
    running = await store.sessions.get(session.id)
    assert (running.status, running.step, running.started_at) == ("running", 1, "2023-11-14T22:13:20.005Z")
    assert running.queued_at == running.started_at
    told = (await story(store, session))[-1]
    assert (told.offset, told.type) == (3, "step:start")
    assert told.data == {"step": 1, "attempt": 1, "maxSteps": 20, "usedBudget": 0, "maxBudget": 4000}


async def test_a_lost_attempt_is_announced_by_a_retry_and_the_step_starts_once(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.steps.begin(step(session), 2)
    told = await story(store, session)
    assert [fact.type for fact in told[2:]] == ["step:start", "step:retry"]
    assert (told[-1].data["attempt"], told[-1].data["retryAfterMs"]) == (2, 0)


async def test_a_retry_is_announced_once_by_whoever_comes_first(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    for _ in range(2):
        await store.steps.announce_retry(step(session), 1, "529", 700)
    await store.steps.begin(step(session), 2)
    told = await story(store, session)
    assert [fact.type for fact in told[3:]] == ["step:retry"]
    assert told[-1].data == {"step": 1, "attempt": 2, "reason": "529", "retryAfterMs": 700}


async def test_an_older_attempt_may_neither_begin_nor_write(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.begin(at, 2)
    before = await story(store, session)
    for late in (
        store.steps.begin(at, 1),
        store.steps.record_reply(at, 1, reply("late")),
        store.steps.record_partial(at, 1, reply("late")),
        store.steps.start_thinking(at, 1),
        store.steps.announce_retry(at, 1, "late", 0),
    ):
        with pytest.raises(Fenced):
            await late
    assert await story(store, session) == before
    assert await store.transcripts.turns(session.id) == []
    await store.steps.record_reply(at, 2, reply("heard"))


async def test_an_attempt_does_not_begin_twice(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    with pytest.raises(Fenced):
        await store.steps.begin(step(session), 1)


async def test_the_first_stored_reply_wins_and_later_attempts_are_given_it(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    call = new_call("t1", path="x")
    first = await store.steps.record_reply(at, 1, reply("first", call, tokens=30, cost=0.5))
    spent = Usage(input_tokens=30)
    assert first == ModelReply(spent, 0.5, [call.ref], total=spent, total_cost=0.5, spent=False)
    before = await story(store, session)
    assert (await store.steps.begin(at, 2)).recorded == first
    assert await store.steps.record_reply(at, 2, reply("second", tokens=99)) == first
    assert await store.steps.record_reply(at, 1, reply("again", tokens=99)) == first
    await store.steps.record_partial(at, 1, reply("cut", tokens=99))
    assert await story(store, session) == before
    (turn,) = await store.transcripts.turns(session.id)
    assert turn.blocks[0] == {"type": "text", "text": "first"}
    session = await store.sessions.get(session.id)
    assert (session.usage["totalTokens"], session.cost) == (30, 0.5)


async def test_a_step_that_the_budget_cannot_pay_is_not_begun_and_warned_of(store: Store) -> None:
    session = await new_session(store, maxBudget=1000)
    await store.steps.begin(step(session), 1)
    await store.steps.announce_retry(step(session), 1, "cut off", 0, Spent(Usage(input_tokens=900), None))
    begun = await store.steps.begin(step(session), 2)
    assert begun.recorded is not None and begun.recorded.cut_short and begun.recorded.spent
    assert (await types(store, session))[2:] == ["step:start", "step:retry", "budget:warning"]
    with pytest.raises(Fenced):
        await store.steps.record_reply(step(session), 1, reply("it only slept"))


async def test_a_cost_is_known_as_long_as_that_of_every_token_is(store: Store) -> None:
    session = await new_session(store)
    for number, cost in ((1, 0.25), (2, None), (3, 0.5)):
        await store.steps.begin(step(session, number), 1)
        await store.steps.record_reply(step(session, number), 1, reply("", new_call("t"), cost=cost))
        await store.calls.record(tool(step(session, number), "t"), 1, OK, 1)
        assert (await store.sessions.get(session.id)).cost == (0.25 if number == 1 else None)


async def test_after_a_reset_the_new_run_is_given_what_was_recorded_and_fences_the_old(store: Store) -> None:
    session = await new_session(store)
    for number in (1, 2):
        await store.steps.begin(step(session, number, epoch=1), 1)
        if number == 1:
            await store.steps.record_reply(step(session, 1, epoch=1), 1, reply("one", new_call("t1")))
            await store.calls.record(tool(step(session, 1, epoch=1), "t1"), 1, OK, 1)
    again = await store.steps.begin(step(session, 1, epoch=2), 1)
    assert again.recorded is not None
    assert again.recorded.calls == [CallRef("t1", "exec", "readOnly", "exec{}")]
    assert (await store.steps.begin(step(session, 2, epoch=2), 1)).recorded is None
    with pytest.raises(Fenced):
        await store.steps.record_reply(step(session, 2, epoch=1), 1, reply("old run"))
    with pytest.raises(Fenced):
        await store.steps.begin(step(session, 2, epoch=1), 2)
    await store.steps.record_reply(step(session, 2, epoch=2), 1, reply("new run"))
    assert (await types(store, session))[-4:] == ["step:start", "step:retry", "content", "step:complete"]


async def test_a_reply_is_told_in_order_and_completes_a_step_without_calls(store: Store, clock: Clock) -> None:
    session = await new_session(store, maxBudget=1000, maxSteps=3)
    await store.steps.begin(step(session), 1)
    await store.steps.start_thinking(step(session), 1)
    clock.now += 250
    await store.steps.record_reply(step(session), 1, reply("hello", thinking="hm", tokens=100))
    told = (await story(store, session))[3:]
    assert [fact.type for fact in told] == ["thinking:start", "thinking:end", "content", "step:complete"]
    assert (told[1].data, told[2].data) == ({"step": 1, "text": "hm"}, {"step": 1, "text": "hello"})
    complete = told[3].data
    assert complete.pop("usage")["totalTokens"] == 100
    assert complete == {
        "step": 1,
        "usedBudget": 100,
        "budgetRemaining": 900,
        "stepsRemaining": 2,
        "toolCallsInStep": 0,
        "durationMs": 250,
    }


async def test_reasoning_that_is_not_to_be_shown_is_not_told(store: Store) -> None:
    session = await new_session(store, showThinking=False)
    await store.steps.begin(step(session), 1)
    await store.steps.record_reply(step(session), 1, reply("hello", thinking="secret"))
    assert "secret" not in str(await story(store, session))


async def test_thinking_starts_once_per_step_whatever_the_attempt(store: Store) -> None:
    session = await new_session(store)
    for attempt in (1, 2):
        await store.steps.begin(step(session), attempt)
        for _ in range(2):
            await store.steps.start_thinking(step(session), attempt)
    assert (await types(store, session)).count("thinking:start") == 1


@pytest.mark.parametrize(
    ("spent", "warned"), [([1000, 7000, 1000], [2]), ([25_000], [1]), ([7999], []), ([7999, 1, 5000], [2])]
)
async def test_the_budget_warning_comes_once_when_eighty_percent_is_passed(
    store: Store, spent: list[int], warned: list[int]
) -> None:
    session = await new_session(store, maxBudget=10_000)
    for number, tokens in enumerate(spent, 1):
        await store.steps.begin(step(session, number), 1)
        await store.steps.record_reply(step(session, number), 1, reply("", new_call("t"), tokens=tokens))
        await store.calls.record(tool(step(session, number), "t"), 1, OK, 1)
    told = await story(store, session)
    at = [told[n - 1].data["step"] for n, fact in enumerate(told) if fact.type == "budget:warning"]
    assert at == warned
    for fact in told:
        if fact.type == "budget:warning":
            used = sum(spent[: warned[0]])
            assert fact.data == {"percentUsed": used // 100, "usedBudget": used, "maxBudget": 10_000}


async def test_a_cut_reply_is_kept_as_partial_content_and_paid_for(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    await store.steps.record_partial(step(session), 1, reply("half a tho", new_call("t1"), tokens=40, cost=0.1))
    told = (await story(store, session))[-1]
    assert (told.type, told.data) == ("content", {"step": 1, "text": "half a tho", "partial": True})
    (turn,) = await store.transcripts.turns(session.id)
    assert (turn.partial, turn.results) == (True, [])
    assert turn.blocks == [{"type": "text", "text": "half a tho"}], "a call that nobody will answer is not kept"
    now = await store.sessions.get(session.id)
    assert (now.usage["totalTokens"], now.cost) == (40, 0.1)


async def test_a_second_cut_of_a_step_is_paid_for_but_told_once(store: Store) -> None:
    session = await new_session(store)
    for attempt in (1, 2):
        await store.steps.begin(step(session), attempt)
        await store.steps.record_partial(step(session), attempt, reply(f"cut {attempt}", tokens=40))
    assert [fact.data["text"] for fact in await story(store, session) if fact.type == "content"] == ["cut 1"]
    assert (await store.sessions.get(session.id)).usage["totalTokens"] == 80


async def test_after_a_reset_a_whole_reply_takes_the_place_of_a_cut_one(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session, epoch=1), 1)
    await store.steps.record_partial(step(session, epoch=1), 1, reply("ha"))
    assert (await store.steps.begin(step(session, epoch=2), 1)).recorded is None
    await store.steps.record_reply(step(session, epoch=2), 1, reply("half and half", new_call("t1")))
    (turn,) = await store.transcripts.turns(session.id)
    assert (turn.partial, len(turn.blocks), len(turn.results)) == (False, 2, 1)
    said = [fact.data for fact in await story(store, session) if fact.type == "content"]
    assert said == [{"step": 1, "text": "ha", "partial": True}, {"step": 1, "text": "half and half"}]


async def test_a_session_that_is_over_takes_nothing_more(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("", new_call("a"), new_call("b", "sideEffect")))
    await store.endings.close(session.id, Ending("cancelled"))
    before, row = await story(store, session), await store.sessions.row(session.id)
    for late in (
        store.steps.begin(step(session, 2), 1),
        store.steps.record_reply(step(session, 2), 1, reply("late")),
        store.steps.record_partial(step(session, 2), 1, reply("late")),
        store.steps.start_thinking(at, 1),
        store.steps.announce_retry(at, 1, "late", 0),
        store.sessions.request_cancel(session.id, "now", None, "me"),
    ):
        with pytest.raises(SessionOver):
            await late
    assert (await store.calls.start(tool(at, "b"), 1)).fate is not None
    assert (await store.calls.record(tool(at, "a"), 1, OK, 1)).status == "error", "the first result is the closing's"
    assert await store.endings.close(session.id, Ending("endTurn")) is False
    await store.sessions.mark_queued(session.id)
    assert await story(store, session) == before
    assert await store.sessions.row(session.id) == row


async def test_a_session_that_does_not_exist_is_not_found(store: Store) -> None:
    for asked in (
        store.steps.begin(step("sess_none"), 1),
        store.calls.start(tool(step("sess_none"), "t"), 1),
        store.calls.look(tool(step("sess_none"), "t")),
        store.endings.close("sess_none", Ending("timeout")),
        store.facts.head("sess_none"),
        store.sessions.get("sess_none"),
        store.transcripts.opening("sess_none"),
    ):
        with pytest.raises(NotFound):
            await asked
    assert await store.facts.after("sess_none", 0) == []


async def test_attempts_that_race_are_put_in_order(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    outcomes = await asyncio.gather(
        *(store.steps.begin(at, attempt) for attempt in range(2, 22)), return_exceptions=True
    )
    assert all(not isinstance(one, BaseException) or isinstance(one, Fenced) for one in outcomes)
    retries = [fact.data["attempt"] for fact in await story(store, session) if fact.type == "step:retry"]
    assert retries == sorted(retries)
    assert retries[-1] == 21
    wrote = await asyncio.gather(
        *(store.steps.record_reply(at, attempt, reply(f"by {attempt}")) for attempt in range(1, 22)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, ModelReply) for one in wrote) >= 1
    assert [fact.data["text"] for fact in await story(store, session) if fact.type == "content"] == ["by 21"]


async def test_what_cut_attempts_cost_is_part_of_what_the_session_spent(store: Store) -> None:
    at = step(await new_session(store))
    lost = Spent(Usage(input_tokens=100), 0.25)
    await store.steps.begin(at, 1)
    await store.steps.announce_retry(at, 1, "cut", 10, lost)
    await store.steps.announce_retry(at, 1, "cut", 10, lost)
    await store.steps.begin(at, 2)
    recorded = await store.steps.record_reply(at, 2, reply("done", tokens=30, cost=0.5))
    assert recorded.usage.total_tokens == 30
    assert recorded.total == recorded.usage + lost.usage
    assert recorded.total_cost == 0.75
    again = await store.steps.begin(at, 3)
    assert again.recorded == recorded
