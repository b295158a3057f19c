"""Follow-ups: what a user says to a session that is not over. Its next step sees it; the session goes on for it.

One transaction under the session's lock stores the message in the conversation, the interjection, and the fact
`user_message`. The reply without calls that would end the session is recorded under the same lock, so a follow-up comes
before it, and is seen, or after it, and is refused. It goes unseen only where the session ends by its limits or a
cancel; it stands in the conversation all the same, and the next session sees it there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from session.events import UserMessage
from session.resources import Message, Session
from session.vocabulary import COMPLETE_TASK
from store.context_schema import interjections
from store.database import Row, first
from store.interjections import interject, waits
from store.ledger import Ledger, Ledgers, SessionOver
from store.rows import message_of, session_of
from store.schema import conversations, facts, messages, tool_calls, turns
from store.starting import Caller, keep_key, known_session

MOST_UNSEEN = 20
"""Follow-ups of a session that no step has seen yet."""

_UNSEEN = select(func.count().label("held")).where(
    interjections.c.session_id == bindparam("session"),
    interjections.c.kind == "followUp",
    interjections.c.step.is_(None),
)
_TURN = select(turns.c.calls).where(
    turns.c.session_id == bindparam("session"), turns.c.step == bindparam("at_step"), turns.c.partial.is_(False)
)
_COMPLETION = select(tool_calls.c.call_id).where(
    tool_calls.c.session_id == bindparam("session"),
    tool_calls.c.step == bindparam("at_step"),
    tool_calls.c.name == COMPLETE_TASK,
    tool_calls.c.status != "error",
)
_MESSAGE = select(messages).where(messages.c.id == bindparam("id"))
_FACT = select(facts.c.frame).where(facts.c.session_id == bindparam("session"), facts.c.key == bindparam("key"))


class SessionEnding(Exception):
    """The session will take no more steps: `why`, a sentence. Nothing was written."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class TooManyUnseen(Exception):
    """`MOST_UNSEEN` follow-ups of the session were not seen by a step yet. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Added:
    """A follow-up as it is stored, and the session that it was said to."""

    message: Message
    session: Session


class FollowUps:
    """Adds follow-ups. A crash before the commit leaves nothing; after it the next step sees the message."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.ledgers = ledgers
        self.database = ledgers.database

    async def add(self, session_id: str, content: str, caller: Caller) -> Added:
        """Say `content` to the session. The same key again brings back the same message, also after the session's end.

        A session that waits for its turn takes follow-ups too: its first step sees them behind the task. Raises
        NotFound, SessionOver, SessionEnding, TooManyUnseen, KeyReused.
        """
        try:
            return await self._add(session_id, content, caller)
        except IntegrityError:  # the key was used meanwhile: now it is known what for
            return await self._add(session_id, content, caller)

    async def _add(self, session_id: str, content: str, caller: Caller) -> Added:
        async with self.ledgers.open(session_id) as ledger:
            if await known_session(ledger.connection, caller) is not None:
                return Added(message_of(await _said_before(ledger, caller), []), session_of(ledger.row))
            await _check(ledger)
            row = await _say(ledger, self.database.new_id("msg"), content)
            await interject(ledger, "followUp", content, row["id"])
            said = UserMessage(id=row["id"], content=content, message_count=row["seq"])
            ledger.append(_fact_key(caller) or f"said/{row['id']}", said)
            await keep_key(ledger.connection, caller, session_id, ledger.now_ms)
            return Added(message_of(row, []), session_of({**ledger.row, **ledger.changes}))


async def _check(ledger: Ledger) -> None:
    """Raise SessionOver, SessionEnding or TooManyUnseen unless a step may follow that sees what is said."""
    if ledger.is_terminal:
        raise SessionOver(ledger.id)
    if ledger.row["cancel_mode"] is not None:
        raise SessionEnding("it is being cancelled")
    if await _is_answered(ledger):
        raise SessionEnding("its last answer is given")
    unseen = await first(ledger.connection, _UNSEEN, session=ledger.id)
    if unseen is not None and unseen["held"] >= MOST_UNSEEN:
        raise TooManyUnseen(ledger.id)


async def _is_answered(ledger: Ledger) -> bool:
    """Whether the newest reply ends the session: it calls nothing and nothing else was said, or it says that the task
    is complete."""
    step = ledger.row["step"]
    turn = await first(ledger.connection, _TURN, session=ledger.id, at_step=step)
    if turn is None:
        return False
    if not json.loads(turn["calls"]):
        return not await waits(ledger, step)
    return await first(ledger.connection, _COMPLETION, session=ledger.id, at_step=step) is not None


async def _say(ledger: Ledger, message_id: str, content: str) -> Row:
    """Store the message as the conversation's newest. Its row is locked after the session's, as by who closes it."""
    conversation = conversations.c.id == ledger.row["conversation_id"]
    count = select(conversations.c.message_count).where(conversation).with_for_update()
    seq = (await ledger.connection.execute(count)).scalar_one() + 1
    row: Row = {column.name: None for column in messages.c} | {
        "id": message_id,
        "conversation_id": ledger.row["conversation_id"],
        "seq": seq,
        "role": "user",
        "content": content,
        "session_id": ledger.id,
        "created_ms": ledger.now_ms,
    }
    await ledger.connection.execute(insert(messages).values(row))
    told = update(conversations).where(conversation).values(message_count=seq, updated_ms=ledger.now_ms)
    await ledger.connection.execute(told)
    return row


def _fact_key(caller: Caller) -> str | None:
    return None if caller.key is None else f"said/{json.dumps([caller.tenant, caller.key])}"


async def _said_before(ledger: Ledger, caller: Caller) -> Row:
    fact = await first(ledger.connection, _FACT, session=ledger.id, key=_fact_key(caller))
    assert fact is not None, "the key and the fact are written together"
    row = await first(ledger.connection, _MESSAGE, id=json.loads(fact["frame"])["data"]["id"])
    assert row is not None, "messages go with their conversation alone"
    return row
