"""Structured results as they are recorded, and the one rule of their repair.

A final answer that keeps to the session's schema is its `result`. The first one that does not is told to the model,
which may repair it in another step, whichever way the answer came. The second, or one after which no step is left,
stands: `result` stays null and `result_error` says why. Until then `result_error` says what was wrong with the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from session.events import Result, ResultError
from session.vocabulary import StopReason
from store.database import first
from store.interjections import interject
from store.ledger import Ledger
from store.schema import tool_calls
from store.spending import allowed

_REPAIR = (
    "Your final answer does not keep to the JSON Schema that was asked for: {fault}\n\nGive the whole answer again, and"
    " it alone: as JSON of this schema, without any words around it (or as `result` of complete_task, if you have that"
    " tool). This is the only repair."
)

_INVALID_CODE = "RESULT_INVALID"
_INVALID = (
    select(tool_calls.c.call_id)
    .where(tool_calls.c.session_id == bindparam("session"), tool_calls.c.step == bindparam("at_step"))
    .where(tool_calls.c.status == "error", tool_calls.c.result.contains(_INVALID_CODE))
)
"""The completions of this step that were sent back for repair."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer held against the schema: `value` is its JSON (secrets masked), or `fault` says what is wrong."""

    value: str | None = None
    fault: str = ""


async def has_step_left(ledger: Ledger, step: int) -> bool:
    """Whether the session's limits let another step follow this one."""
    return step < ledger.row["max_steps"] and await allowed(ledger, step + 1) != 0


async def stands(ledger: Ledger, step: int, answer: Answer) -> bool:
    """Record an answer; False where the model is to repair it. Of several in one step the first good one counts, and
    before it is repaired all of them are to be."""
    if ledger.value("result") is not None:
        return True
    if answer.value is not None:
        ledger.changes |= {"result": answer.value, "result_error": None}
        return True
    told_before = await first(ledger.connection, _INVALID, session=ledger.id, at_step=step) is not None
    is_first = ledger.value("result_error") is None or told_before
    may_go_on = await has_step_left(ledger, step)
    end = "" if may_go_on else " (no step was left to repair it)"
    ledger.changes["result_error"] = answer.fault + end
    return not (is_first and may_go_on)


async def taken(ledger: Ledger, step: int, answer: Answer, result: Result) -> Result:
    """Record the answer of a successful `complete_task`; the result of the call, which is an error where the model is
    to repair it."""
    if not await stands(ledger, step, answer):
        told = f"`result` does not keep to its schema: {answer.fault}. Call complete_task once more with one that does."
        return Result(success=False, error=ResultError(code=_INVALID_CODE, message=told))
    if answer.value is not None:
        return result
    note = f"(`result` was not taken, it does not keep to its schema: {answer.fault})"
    return result.model_copy(update={"content": f"{result.content}\n{note}"})


async def take_reply(ledger: Ledger, step: int, answer: Answer) -> None:
    """Record the answer of a reply without calls; where it is to be repaired, the session goes on for it."""
    if not await stands(ledger, step, answer):
        await interject(ledger, "repair", _REPAIR.format(fault=answer.fault))


def note_absence(ledger: Ledger, reason: StopReason) -> None:
    """At a session's end: say why there is no result although one was asked for."""
    asked = json.loads(ledger.row["settings"]).get("responseSchema") is not None
    if asked and ledger.value("result") is None and ledger.value("result_error") is None:
        ledger.changes["result_error"] = f"the session ended ({reason}) without a final answer"
