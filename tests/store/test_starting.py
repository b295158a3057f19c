"""Claims about starting and retrying sessions (CONTRACT §2, G8)."""

import asyncio
import json

import pytest

from session.wire import Ending
from store import Store
from store.ledger import NotFound
from store.sessions import Filters
from store.starting import Caller, Conflict, KeyReused, Started
from tests.store.acting import MODEL, Clock, begin_session, new_session, reply, step, story, types


async def test_a_start_stores_the_message_the_session_and_its_first_two_facts(store: Store, clock: Clock) -> None:
    session = await new_session(store, "say hello", maxBudget=5000, timeoutSeconds=60, metadata={"a": {"b": 1}})
    assert (session.status, session.goal, session.model, session.max_steps) == ("created", "say hello", MODEL, 20)
    told = await story(store, session)
    assert [(fact.offset, fact.type) for fact in told] == [(1, "user_message"), (2, "session:start")]
    assert told[1].data["deadline"] == session.deadline == "2023-11-14T22:14:20.000Z"
    (message,) = await store.conversations.messages(session.conversation_id)
    assert (message.id, message.role, message.content) == (told[0].data["id"], "user", "say hello")
    assert await store.sessions.get(session.id) == session
    settings = json.loads((await store.sessions.row(session.id))["settings"])
    assert (settings["timeoutSeconds"], settings["metadata"]) == (60, {"a": {"b": 1}})


async def test_an_untitled_conversation_takes_the_first_fifty_characters(store: Store) -> None:
    session = await new_session(store, "ü" * 80)
    conversation, active = await store.conversations.get(session.conversation_id)
    assert (conversation.title, active) == ("ü" * 50, session.id)
    titled = await store.conversations.create("conv_01", "mine", None, {})
    await begin_session(store, "other", into=titled.id)
    assert (await store.conversations.get(titled.id))[0].title == "mine"


async def test_one_key_sent_fifty_times_at_once_starts_one_session(store: Store) -> None:
    caller = Caller("t", "key", "hash")
    started = await asyncio.gather(*(begin_session(store, caller=caller) for _ in range(50)))
    assert len({one.session.id for one in started}) == 1
    assert sum(one.is_new for one in started) == 1
    assert len((await store.sessions.list(Filters(), None, 100))[0]) == 1
    assert len((await store.conversations.list(None, None, 100))[0]) == 1


async def test_one_key_sent_fifty_times_at_once_into_one_conversation_starts_one_session(store: Store) -> None:
    await store.conversations.create("conv_01", None, None, {})
    caller = Caller("t", "key", "hash")
    started = await asyncio.gather(*(begin_session(store, caller=caller, into="conv_01") for _ in range(50)))
    assert len({one.session.id for one in started}) == 1
    assert sum(one.is_new for one in started) == 1
    assert len(await store.conversations.messages("conv_01")) == 1


async def test_a_key_with_another_request_is_refused_and_starts_nothing(store: Store) -> None:
    first = await begin_session(store, caller=Caller("t", "key", "one"))
    with pytest.raises(KeyReused):
        await begin_session(store, caller=Caller("t", "key", "two"))
    again = await begin_session(store, caller=Caller("t", "key", "one"))
    assert (again.session, again.is_new) == (first.session, False)
    assert len((await store.sessions.list(Filters(), None, 100))[0]) == 1


async def test_the_same_key_of_another_tenant_is_another_key(store: Store) -> None:
    one = await begin_session(store, caller=Caller("a", "key", "hash"))
    other = await begin_session(store, caller=Caller("b", "key", "other"))
    assert one.session.id != other.session.id


async def test_a_conversation_has_one_active_session_however_many_start_at_once(store: Store) -> None:
    await store.conversations.create("conv_01", None, None, {})
    outcomes = await asyncio.gather(
        *(begin_session(store, f"try {n}", into="conv_01") for n in range(20)), return_exceptions=True
    )
    started = [one.session.id for one in outcomes if isinstance(one, Started)]
    refused = [one.session_id for one in outcomes if isinstance(one, Conflict)]
    assert (len(started), len(refused)) == (1, 19)
    assert set(refused) == set(started)
    assert len(await store.conversations.messages("conv_01")) == 1


async def test_the_next_session_may_start_when_the_first_is_over(store: Store) -> None:
    first = await new_session(store)
    await store.endings.close(first.id, Ending("timeout"))
    second = await begin_session(store, "more", into=first.conversation_id)
    assert [m.role for m in await store.conversations.messages(first.conversation_id)] == ["user", "assistant", "user"]
    assert (await store.conversations.get(first.conversation_id))[1] == second.session.id


async def test_a_start_in_a_conversation_that_does_not_exist_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await begin_session(store, into="conv_none")


async def test_a_retry_is_a_new_session_from_the_same_message(store: Store, clock: Clock) -> None:
    first = await new_session(store, "the task", effort="high", timeoutSeconds=30)
    with pytest.raises(Conflict) as running:
        await store.starting.retry(first.id, Caller())
    assert running.value.session_id == first.id
    await store.endings.close(first.id, Ending("providerError", "no answer"))
    clock.now += 99_000
    second = (await store.starting.retry(first.id, Caller())).session
    assert second.id != first.id
    assert (second.goal, second.max_steps, second.status) == ("the task", 50, "created")
    assert second.deadline == "2023-11-14T22:15:29.000Z"
    first_told, second_told = await story(store, first), await story(store, second)
    assert second_told[0].data == first_told[0].data
    assert (await store.sessions.row(second.id))["original_session_id"] == first.id
    with pytest.raises(NotFound):
        await store.starting.retry("sess_none", Caller())


async def test_one_key_retries_once_however_often_it_is_sent(store: Store) -> None:
    first = await new_session(store)
    await store.endings.close(first.id, Ending("timeout"))
    caller = Caller("t", "again", "hash")
    retried = await asyncio.gather(*(store.starting.retry(first.id, caller) for _ in range(20)))
    assert len({one.session.id for one in retried}) == 1
    assert sum(one.is_new for one in retried) == 1


async def test_a_retry_does_not_see_the_reply_that_failed(store: Store) -> None:
    first = await new_session(store, "one")
    await store.endings.close(first.id, Ending("timeout"))
    second = (await store.starting.retry(first.id, Caller())).session
    assert [(said.role, said.content) for said in await store.transcripts.opening(second.id)] == [("user", "one")]
    await _answer(store, second.id, "well done")
    third = await begin_session(store, "two", into=first.conversation_id)
    assert [(said.role, said.content) for said in await store.transcripts.opening(third.session.id)] == [
        ("user", "one"),
        ("assistant", "well done"),
        ("user", "two"),
    ]


async def test_a_late_retry_answers_its_own_message_and_replaces_no_other_reply(store: Store) -> None:
    first = await new_session(store, "one")
    await store.endings.close(first.id, Ending("timeout"))
    second = await begin_session(store, "two", into=first.conversation_id)
    await _answer(store, second.session.id, "answer to two")
    late = (await store.starting.retry(first.id, Caller())).session
    assert [said.content for said in await store.transcripts.opening(late.id)] == ["one"]
    await _answer(store, late.id, "answer to one")
    third = await begin_session(store, "three", into=first.conversation_id)
    said = [said.content for said in await store.transcripts.opening(third.session.id)]
    assert said == ["one", "answer to one", "two", "answer to two", "three"]


async def test_queued_is_noted_unless_a_worker_was_faster(store: Store) -> None:
    slow, fast = await new_session(store), await new_session(store)
    await store.sessions.mark_queued(slow.id)
    queued = await store.sessions.get(slow.id)
    assert (queued.status, queued.queued_at) == ("queued", "2023-11-14T22:13:20.000Z")
    await store.steps.begin(step(fast), 1)
    await store.sessions.mark_queued(fast.id)
    assert (await store.sessions.get(fast.id)).status == "running"
    await store.endings.close(slow.id, Ending("cancelled"))
    await store.sessions.mark_queued(slow.id)
    assert (await store.sessions.get(slow.id)).status == "cancelled"
    assert (await types(store, slow))[-1] == "error"


async def _answer(store: Store, session_id: str, text: str) -> None:
    await store.steps.begin(step(session_id), 1)
    await store.steps.record_reply(step(session_id), 1, reply(text))
    await store.endings.close(session_id, Ending("endTurn"))
