"""Interjections: what is said to a running session between two of its steps.

One is stored at once, and put before the model by the next step that begins: `step` is set in the transaction that
begins it, so every attempt of that step, and every later reading of the transcript, sees it at the same place. While
one waits, a reply without calls does not end the session (session.machine, rule 3). A session that ends first, by its
limits or a cancel, leaves it unseen; a user's message stays in the conversation all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, or_, select, update

from session.vocabulary import Interjection
from store.context_schema import interjections
from store.database import Database, every, first
from store.ledger import Ledger

_ID = interjections.c.session_id == bindparam("session")
_NEW = insert(interjections)
_SEEN = select(interjections).where(_ID, interjections.c.step.is_not(None)).order_by(interjections.c.position)
_WAITING = (
    select(interjections.c.position)
    .where(_ID, or_(interjections.c.step.is_(None), interjections.c.step > bindparam("at_step")))
    .limit(1)
)
_SHOW = update(interjections).where(_ID, interjections.c.step.is_(None)).values(step=bindparam("at_step"))


@dataclass(frozen=True, slots=True)
class Interjected:
    """What was said, and the first step that saw it."""

    step: int
    kind: Interjection
    content: str


async def interject(ledger: Ledger, kind: Interjection, content: str, message_id: str | None = None) -> None:
    """Say something to the session: the next step that begins sees it."""
    position = (ledger.value("interjected") or 0) + 1
    ledger.changes["interjected"] = position
    values = {"session_id": ledger.id, "position": position, "kind": kind, "message_id": message_id}
    await ledger.connection.execute(_NEW, {**values, "content": content, "created_ms": ledger.now_ms})


async def show_waiting(ledger: Ledger, step: int) -> None:
    """Put what waits before the model of this step, which begins now."""
    if ledger.row["interjected"]:
        await ledger.connection.execute(_SHOW, {"session": ledger.id, "at_step": step})


async def waits(ledger: Ledger, step: int) -> bool:
    """Whether something was said that no step until this one has seen: the same when the step is read again, after
    operators reset the workflow."""
    if not ledger.value("interjected"):
        return False
    return await first(ledger.connection, _WAITING, session=ledger.id, at_step=step) is not None


class Interjections:
    """Reads what was said to sessions."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def of(self, session_id: str) -> list[Interjected]:
        """What steps have seen, in order."""
        async with self.database.read() as connection:
            rows = await every(connection, _SEEN, session=session_id)
        return [Interjected(row["step"], row["kind"], row["content"]) for row in rows]
