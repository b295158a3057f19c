"""Writing a step: its begin, the model's reply, its tool calls and their results.

Fencing (DESIGN §3): a step's row of authority is (epoch, step, attempt) on the session. An attempt may begin only if it
is newer than the one that began last, and may write only while it is still the newest. The first stored reply of a step
wins: a later attempt is given that reply instead of buying another (G3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic_core import to_json
from sqlalchemy import bindparam, delete, insert, select

from session.budget import budgeted
from session.events import Content, StepRetry, StepStart, ThinkingStart
from session.fallbacks import model_of
from session.live import model_scope
from session.usage import Usage
from session.wire import CallRef, ModelReply, StepRef
from store.completing import complete_step, warn
from store.database import Row, first
from store.falling_back import fall_back, fell_back, following
from store.homes import settle
from store.interjections import show_waiting, waits
from store.ledger import Fenced, Ledger, Ledgers, SessionOver
from store.prompts import keep
from store.replies import NewCall, Reply, reply_facts
from store.results import take_reply
from store.schema import tool_calls, turns
from store.spending import allowed, cuts_short, spend
from store.waiting import asked, require

_THIS_TURN = (turns.c.session_id == bindparam("session"), turns.c.step == bindparam("at_step"))
_TOLD = (turns.c.step, turns.c.usage, turns.c.cost, turns.c.calls, turns.c.model, turns.c.stop_reason, turns.c.partial)
_TURN = select(*_TOLD).where(*_THIS_TURN)
_FORGET_TURN = delete(turns).where(*_THIS_TURN)
_NEW_TURN = insert(turns)
_NEW_CALLS = insert(tool_calls)


class Spent(NamedTuple):
    """What an attempt cost that brought no reply."""

    usage: Usage
    cost: float | None


NOTHING = Spent(Usage(), None)


@dataclass(frozen=True, slots=True)
class Begun:
    """A step that may go on: the session's row, or the reply that was recorded by an earlier attempt. `allowed`: the
    tokens that the session's budgets let the reply have, None without a budget."""

    row: Mapping[str, Any]
    """As it is, but that `model` is the model in use."""
    recorded: ModelReply | None = None
    allowed: int | None = None
    tries: int = 1
    """How many attempts of this step the model in use has had, with this one."""
    next_model: str | None = None
    """What the session may fall back to."""


def fence(ledger: Ledger, at: StepRef, attempt: int) -> None:
    """Raise SessionOver or Fenced unless this attempt is the newest that began."""
    if ledger.is_terminal:
        raise SessionOver(ledger.id)
    if (ledger.value("epoch_ms"), ledger.value("step"), ledger.value("attempt")) != (
        at.epoch_ms,
        at.step,
        attempt,
    ):
        raise Fenced(f"step {at.step} was begun again by a newer attempt")


class Steps:
    """Writes steps. Each method is one transaction; a crash before it leaves the step as it was."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.ledgers = ledgers
        self.database = ledgers.database

    async def begin(self, at: StepRef, attempt: int, toolset: str | None = None, home: str = "") -> Begun:
        """Begin (or begin again) a step: `step:start` once, `step:retry` for later attempts, status `running`.

        `toolset`: the digest of the tools that this worker offers, `home`: its workspace root, each kept if the session
        has none yet. Returns the recorded reply if there is one; where the budget leaves no call, nothing is begun and
        the reply is one that it cut short. Raises NotFound, SessionOver, Fenced.
        """
        async with self.ledgers.open(at.session_id) as ledger:
            row = ledger.row
            if at.step <= row["step"] and (recorded := await _recorded(ledger, at.step)) is not None:
                return Begun(row, recorded)
            if ledger.is_terminal:
                raise SessionOver(ledger.id)
            begun_before = row["step"] == at.step
            if (at.epoch_ms, at.step, attempt) <= (row["epoch_ms"], row["step"], row["attempt"]):
                raise Fenced(f"step {at.step} was begun by a newer attempt")
            allowance = await allowed(ledger, at.step)
            if allowance == 0:
                if begun_before:  # by an attempt that may only sleep
                    ledger.changes |= {"epoch_ms": at.epoch_ms, "attempt": attempt}
                await warn(ledger)
                return Begun(row, ModelReply(total=ledger.usage, total_cost=row["cost"], spent=True, cut_short=True))
            ledger.changes |= {"epoch_ms": at.epoch_ms, "step": at.step, "attempt": attempt}
            if row["toolset"] is None and toolset is not None:
                ledger.changes["toolset"] = toolset
            if row["home"] is None and home:
                await settle(ledger, home)
            scope = model_scope(at.step)
            if begun_before:
                if not await ledger.has_fact(_retry_key(at, attempt)):
                    lost = StepRetry(step=at.step, attempt=attempt, reason="the worker was lost", retry_after_ms=0)
                    ledger.append(_retry_key(at, attempt), lost, closes=scope, attempt=attempt)
            else:
                self._start_step(ledger, at, attempt)
                await show_waiting(ledger, at.step)
            tries = attempt - await fell_back(ledger, at)
        now = {"toolset": ledger.value("toolset"), "home": ledger.value("home"), "model": model_of(row)}
        return Begun({**row, **now}, allowed=allowance, tries=tries, next_model=following(row))

    def _start_step(self, ledger: Ledger, at: StepRef, attempt: int) -> None:
        ledger.changes["step_started_ms"] = ledger.now_ms
        if ledger.value("status") != "running":
            ledger.move("running")
            ledger.changes["started_ms"] = ledger.now_ms
            ledger.changes["queued_ms"] = ledger.row["queued_ms"] or ledger.now_ms
        started = StepStart(
            step=at.step,
            attempt=attempt,
            max_steps=ledger.row["max_steps"],
            used_budget=budgeted(ledger.usage),
            max_budget=ledger.row["max_budget"],
        )
        ledger.append(f"step/{at.step}", started, closes=model_scope(at.step), attempt=attempt)

    async def announce_retry(
        self,
        at: StepRef,
        attempt: int,
        reason: str,
        retry_after_ms: int,
        spent: Spent = NOTHING,
        to: str | None = None,
    ) -> None:
        """Attempt `attempt` failed and another will come: tell readers to drop its deltas. Raises as `fence`.

        `spent`: what the provider had counted of the reply that was cut off; it is paid for all the same. `to`: the
        model that the session falls back to.
        """
        key = _retry_key(at, attempt + 1)
        async with self.ledgers.open(at.session_id) as ledger:
            fence(ledger, at, attempt)
            if not await ledger.has_fact(key):
                if to is not None:
                    fall_back(ledger, at, attempt, to, reason)
                coming = StepRetry(step=at.step, attempt=attempt + 1, reason=reason, retry_after_ms=retry_after_ms)
                ledger.append(key, coming, closes=model_scope(at.step), attempt=attempt + 1)
                spend(ledger, *spent)

    async def note_failure(self, at: StepRef, attempt: int, reason: str, spent: Spent = NOTHING) -> None:
        """The step cannot be made: keep the provider's words for the session's closing. Raises as `fence`.

        They stand here and not in Temporal, which is told no content.
        """
        async with self.ledgers.open(at.session_id) as ledger:
            fence(ledger, at, attempt)
            ledger.changes["failure"] = reason
            spend(ledger, *spent)

    async def start_thinking(self, at: StepRef, attempt: int) -> None:
        """The first piece of reasoning arrived; said once per step, whatever attempt. Raises as `fence`."""
        key = f"step/{at.step}/thinking"
        async with self.ledgers.open(at.session_id) as ledger:
            fence(ledger, at, attempt)
            if not await ledger.has_fact(key):
                ledger.append(key, ThinkingStart(step=at.step))

    async def record_reply(self, at: StepRef, attempt: int, reply: Reply) -> ModelReply:
        """Store a whole reply, its usage, its calls and its facts. Returns the first stored reply of the step.

        Raises as `fence`. After a crash here the reply is lost and is bought again by the next attempt, announced.
        """
        async with self.ledgers.open(at.session_id) as ledger:
            known = await _turn(ledger, at.step)
            if known is not None and not known["partial"]:
                return await _reply_of(ledger, known)
            fence(ledger, at, attempt)
            reply = replace(reply, calls=[self._gated(ledger, call) for call in reply.calls])
            turn = await _put_turn(ledger, at.step, reply, partial=False, again=known is not None)
            await _insert_calls(ledger, at.step, reply.calls)
            spend(ledger, reply.usage, reply.cost)
            for key, fact in reply_facts(reply, at.step, shown=ledger.row["show_thinking"]):
                ledger.append(f"step/{at.step}/{key}", fact, closes=model_scope(at.step))
            for call in reply.calls:
                if call.ref.gate == "ask":
                    await require(ledger, at.step, call)
            if not reply.calls:
                await complete_step(ledger, at.step, reply.usage, 0)
                if reply.answer is not None and not await waits(ledger, at.step):
                    await take_reply(ledger, at.step, reply.answer)
            return await _reply_of(ledger, turn)

    def _gated(self, ledger: Ledger, call: NewCall) -> NewCall:
        return replace(call, ref=asked(ledger, call, self.database.new_id("appr"))) if call.ref.gate == "ask" else call

    async def record_partial(self, at: StepRef, attempt: int, reply: Reply) -> None:
        """Keep what came of a reply that cancel or timeout cut off; it never counts as the step's reply.

        Calls in it are not kept: nobody will answer them (G6). Of several cut replies of a step (the worker was lost
        while it stopped, operators reset the workflow) the first is told, all are paid for. Raises as `fence`.
        """
        async with self.ledgers.open(at.session_id) as ledger:
            fence(ledger, at, attempt)
            known = await _turn(ledger, at.step)
            if known is not None and not known["partial"]:
                return
            spend(ledger, reply.usage, reply.cost)
            if known is not None:
                return
            blocks = [block for block in reply.blocks if block.get("type") != "tool_use"]
            cut = replace(reply, blocks=blocks, calls=())
            await _put_turn(ledger, at.step, cut, partial=True, again=False)
            if reply.text:
                kept = Content(step=at.step, text=reply.text, partial=True)
                ledger.append(f"step/{at.step}/partial", kept, closes=model_scope(at.step))


def _retry_key(at: StepRef, attempt: int) -> str:
    return f"step/{at.step}/retry/{at.epoch_ms}/{attempt}"


async def _turn(ledger: Ledger, step: int) -> Row | None:
    return await first(ledger.connection, _TURN, session=ledger.id, at_step=step)


async def _recorded(ledger: Ledger, step: int) -> ModelReply | None:
    turn = await _turn(ledger, step)
    return None if turn is None or turn["partial"] else await _reply_of(ledger, turn)


async def _reply_of(ledger: Ledger, turn: Row) -> ModelReply:
    calls = [CallRef(**call) for call in json.loads(turn["calls"])]
    usage = Usage(**json.loads(turn["usage"]))
    return ModelReply(
        usage=usage,
        cost=turn["cost"],
        calls=calls,
        total=ledger.usage,
        total_cost=ledger.value("cost"),
        home=ledger.value("home") or "",
        more=not calls and await waits(ledger, turn["step"]),
        spent=await allowed(ledger, turn["step"] + 1) == 0,
        cut_short=cuts_short(ledger.row, turn["model"], turn["stop_reason"], usage),
    )


async def _put_turn(ledger: Ledger, step: int, reply: Reply, *, partial: bool, again: bool) -> Row:
    """Store the step's turn; `again`: over the cut one that is there."""
    if again:
        await ledger.connection.execute(_FORGET_TURN, {"session": ledger.id, "at_step": step})
    values = {
        "session_id": ledger.id,
        "step": step,
        "blocks": to_json(reply.blocks).decode(),
        "calls": to_json([call.ref for call in reply.calls]).decode(),
        "usage": to_json(reply.usage).decode(),
        "cost": reply.cost,
        "model": reply.model,
        "stop_reason": reply.stop_reason,
        "request_id": reply.request_id,
        "partial": partial,
        "created_ms": ledger.now_ms,
    }
    await ledger.connection.execute(_NEW_TURN, values)
    if step == 1 and reply.prompt is not None:
        await keep(ledger, reply.prompt)
    return values


async def _insert_calls(ledger: Ledger, step: int, calls: Sequence[NewCall]) -> None:
    if not calls:
        return
    rows = [
        {
            "session_id": ledger.id,
            "step": step,
            "call_id": call.ref.id,
            "position": position,
            "name": call.ref.name,
            "arguments": to_json(call.arguments).decode(),
            "shown": None if call.shown is None else to_json(call.shown).decode(),
            "refusal": None if call.refusal is None else call.refusal.model_dump_json(),
            "effect": call.ref.effect,
            "security_level": call.security_level,
            "status": "pending",
        }
        for position, call in enumerate(calls)
    ]
    await ledger.connection.execute(_NEW_CALLS, rows)
