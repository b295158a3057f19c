"""Closing a session: one transaction, conditional on the row not being terminal; the second closer changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from session.auditing import AuditKind
from session.closing import Closing, Done, close
from session.events import Result, ResultError, SessionCancelling
from session.fallbacks import model_of
from session.policy import AdmissionPolicy
from session.vocabulary import COMPLETE_TASK, StopReason
from session.wire import Ending
from store.calls import OUTCOME_UNKNOWN, write_result
from store.database import Row, every
from store.ledger import Ledger, Ledgers
from store.line import LineMoved, pass_on
from store.memory_writing import keep_summary
from store.results import note_absence
from store.rows import tool_call_of
from store.schema import conversations, messages, tool_calls, turns
from store.waiting import lapse, not_given, pending_of

_SAVE = insert(messages)
_NOT_RUN: dict[StopReason, tuple[str, str]] = {
    "cancelled": ("CANCELLED", "The session was cancelled before this call had a result."),
    "timeout": ("TIMEOUT", "The session reached its time limit before this call had a result."),
}


class Endings:
    """Ends sessions."""

    def __init__(self, ledgers: Ledgers, policy: AdmissionPolicy) -> None:
        self.ledgers = ledgers
        self.policy = policy
        self.database = ledgers.database

    async def close(self, session_id: str, ending: Ending) -> bool:
        """Store what was done as the assistant message, answer every open call, write the terminal facts and state.

        Its conversation passes to the next in line. Returns False, and writes nothing, when the session was terminal
        already. Raises NotFound.
        """
        following: str | None = None
        while True:
            try:
                return await self._close(session_id, ending, following)
            except LineMoved as moved:
                following = moved.following

    async def _close(self, session_id: str, ending: Ending, following: str | None) -> bool:
        async with self.ledgers.transaction() as transaction:
            ledger = await transaction.lock(session_id)
            if ledger.is_terminal:
                return False
            upcoming = None if following is None else await transaction.lock(following)
            seq = await _next_seq(ledger)
            heir = await pass_on(ledger.connection, ledger.row["conversation_id"], upcoming, seq, self.policy)
            await _end(ledger, ending, self.database.new_id("msg"), seq, active_session_id=heir)
        return True


async def end_in_line(ledger: Ledger, message_id: str) -> None:
    """End a session that waits for its turn, inside its ledger; its cancel was asked for before. Nothing was done, its
    user message stays, and the line closes up."""
    seq = await _next_seq(ledger)
    ledger.changes |= {"waits_since_ms": None, "opening_seq": seq}
    await _end(ledger, Ending("cancelled"), message_id, seq)


async def _end(ledger: Ledger, ending: Ending, message_id: str, seq: int, **conversation: Any) -> None:
    """Write all of the end; the assistant message is the conversation's number `seq`, which was locked for it."""
    ending = _with_failure(ledger, await _with_cancel(ledger, ending))
    for approval in await pending_of(ledger):
        await lapse(ledger, approval)
    await _answer_open_calls(ledger, ending.reason)
    done = await _done(ledger)
    closing = close(done, ending, message_id)
    await _save_message(ledger, message_id, seq, closing, conversation)
    for fact in closing.facts:
        ledger.append(f"end/{fact.type}", fact)
    if closing.status == "completed" and (done.last_text or done.completion):
        await keep_summary(ledger, closing.summary)
    note_absence(ledger, ending.reason)
    ledger.move(closing.status)
    ledger.changes |= {
        "stop_reason": ending.reason,
        "summary": closing.summary,
        "error": json.dumps(closing.error) if closing.error else None,
        "message_id": message_id,
        "ended_ms": ledger.now_ms,
    }


async def _with_cancel(ledger: Ledger, ending: Ending) -> Ending:
    """A cancel that came from Temporal's own side is told like any other; one through us carries its reason."""
    if ending.reason != "cancelled":
        return ending
    if ledger.value("cancel_mode") is None:
        by = ending.cancelled_by or "temporal"
        ledger.append("cancel/now", SessionCancelling(mode="now", reason=ending.message or None, by=by))
        return ending
    reason = ledger.value("cancel_reason")
    said = f"The session was cancelled: {reason}" if reason else ending.message
    return Ending("cancelled", said, ending.retryable, ledger.value("cancel_by") or "")


def _with_failure(ledger: Ledger, ending: Ending) -> Ending:
    """A provider's failure is told in its own words, which only the store was told."""
    if ending.reason != "providerError" or not ledger.row["failure"]:
        return ending
    return Ending(ending.reason, ledger.row["failure"], ending.retryable)


async def _answer_open_calls(ledger: Ledger, reason: StopReason) -> None:
    columns = tool_calls.c
    query = select(tool_calls).where(columns.session_id == ledger.id, columns.result.is_(None))
    rows = await every(ledger.connection, query.order_by(columns.step, columns.position))
    code, message = _NOT_RUN.get(reason, ("INTERRUPTED", "The session ended before this call had a result."))
    audited = await not_given(ledger) if rows else set()
    for row in rows:
        lost = row["status"] == "started" and row["effect"] != "readOnly"
        error = ResultError(code=code, message=message)
        result = OUTCOME_UNKNOWN if lost else Result(success=False, error=error)
        kind: AuditKind | None = "call" if row["status"] == "started" else "cancel"
        if (row["step"], row["call_id"]) in audited:
            kind = None
        await write_result(ledger, row["step"], row, result, kind=kind)


async def _done(ledger: Ledger) -> Done:
    columns = tool_calls.c
    query = select(tool_calls).where(columns.session_id == ledger.id).order_by(columns.step, columns.position)
    calls = await every(ledger.connection, query)
    return Done(
        session_id=ledger.id,
        model=model_of(ledger.row),
        provider=ledger.row["provider"],
        steps=ledger.row["step"],
        usage=ledger.usage,
        cost=ledger.row["cost"],
        duration_ms=ledger.now_ms - ledger.row["created_ms"],
        last_text=await _last_text(ledger),
        completion=_completion(calls),
        tool_calls=[tool_call_of(row).model_dump(mode="json", by_alias=True) for row in calls],
    )


def _completion(calls: Sequence[Row]) -> dict[str, Any]:
    for row in reversed(calls):
        if row["name"] == COMPLETE_TASK and row["status"] == "success":
            return dict(json.loads(row["shown"] or row["arguments"]))
    return {}


async def _last_text(ledger: Ledger) -> str:
    """The text of the last turn that had any."""
    query = select(turns.c.blocks).where(turns.c.session_id == ledger.id).order_by(turns.c.step.desc()).limit(5)
    for (blocks,) in (await ledger.connection.execute(query)).all():
        text = "\n\n".join(block["text"] for block in json.loads(blocks) if block["type"] == "text")
        if text:
            return text
    return ""


async def _next_seq(ledger: Ledger) -> int:
    """Lock the conversation, after the session as everywhere; the number of the message that it gets."""
    mine = conversations.c.id == ledger.row["conversation_id"]
    query = select(conversations.c.message_count).where(mine).with_for_update()
    return int((await ledger.connection.execute(query)).scalar_one()) + 1


async def _save_message(
    ledger: Ledger, message_id: str, seq: int, closing: Closing, conversation: Mapping[str, Any]
) -> None:
    values = {
        "id": message_id,
        "conversation_id": ledger.row["conversation_id"],
        "seq": seq,
        "role": "assistant",
        "content": closing.content,
        "model": model_of(ledger.row),
        "provider": ledger.row["provider"],
        "session_id": ledger.id,
        "usage": json.dumps(ledger.usage.published()),
        "cost": ledger.row["cost"],
        "created_ms": ledger.now_ms,
    }
    await ledger.connection.execute(_SAVE, values)
    changes = {"message_count": seq, "updated_ms": ledger.now_ms, **conversation}
    mine = conversations.c.id == ledger.row["conversation_id"]
    await ledger.connection.execute(update(conversations).where(mine).values(changes))
