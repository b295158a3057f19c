"""Claims about interjections: the next step sees them, at one place for ever, and they keep a session going."""

from __future__ import annotations

from store import Store
from store.interjections import interject
from store.replies import Reply
from tests.store.acting import new_session, step


async def test_the_next_step_that_begins_sees_it_and_every_attempt_of_it_sees_the_same(store: Store) -> None:
    session_id = (await new_session(store)).id
    await store.steps.begin(step(session_id, 1), 1)
    async with store.steps.ledgers.open(session_id) as ledger:
        await interject(ledger, "followUp", "also this", "msg_1")
        await interject(ledger, "followUp", "and this", "msg_2")
    assert await store.interjections.of(session_id) == []
    reply = Reply("m", [{"type": "text", "text": "done"}], text="done")
    told = await store.steps.record_reply(step(session_id, 1), 1, reply)
    assert told.more, "a reply without calls does not end a session that was spoken to"
    begun = await store.steps.begin(step(session_id, 2), 1)
    seen = await store.interjections.of(session_id)
    assert [(one.step, one.content) for one in seen] == [(2, "also this"), (2, "and this")]
    await store.steps.begin(step(session_id, 2), 2)
    assert await store.interjections.of(session_id) == seen and begun.row["interjected"] == 2
    last = await store.steps.record_reply(step(session_id, 2), 2, reply)
    assert not last.more
