"""The state machine of a session: what comes next, and what an outcome changes.

The rules, in the order in which they are asked before every move:

1. Tools that the last reply called run before anything else is decided, so every `tool_use` gets its result (G6).
2. A successful `complete_task` ends the session as `taskCompleted`.
3. A reply without tool calls that the budget cut short ends it as `budgetExceeded`.
4. Any other without tool calls ends it as `endTurn`, unless something was said to the session meanwhile.
5. The same call with the same arguments three times running ends it as `loopDetected`.
6. The step limit, then the token or money budget, end it before the next model call is paid for.
7. Otherwise the model is called for the next step.

Deadline, cancel and failures are not decided here: they arrive from outside and end the session whatever its state.
A move applied in the wrong state raises and changes nothing.
"""

from dataclasses import dataclass, field, replace

from session.budget import Budget
from session.usage import Usage
from session.vocabulary import COMPLETE_TASK, StopReason
from session.wire import CallRef, ModelReply, ToolFate

LOOP_LENGTH = 3


@dataclass(frozen=True, slots=True)
class CallModel:
    """Call the model for this step (1…)."""

    step: int


@dataclass(frozen=True, slots=True)
class RunTools:
    """Run these calls of this step in parallel."""

    step: int
    calls: tuple[CallRef, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session for this reason."""

    reason: StopReason


Move = CallModel | RunTools | Stop


class IllegalOutcome(ValueError):
    """An outcome was applied that the state did not wait for; nothing was changed."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a session stands. `pending` are the calls of the last reply that have no result yet."""

    budget: Budget
    step: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    pending: tuple[CallRef, ...] = ()
    ended_turn: bool = False
    spent: bool = False
    cut_short: bool = False
    task_completed: bool = False
    last_digest: str = ""
    repeats: int = 0


def next_step(state: State) -> Move:
    """Decide the next move by the rules at the head of this file."""
    if state.pending:
        return RunTools(state.step, state.pending)
    if state.task_completed:
        return Stop("taskCompleted")
    if state.cut_short:
        return Stop("budgetExceeded")
    if state.ended_turn:
        return Stop("endTurn")
    if state.repeats >= LOOP_LENGTH:
        return Stop("loopDetected")
    if state.step >= state.budget.max_steps:
        return Stop("maxSteps")
    if state.spent:
        return Stop("budgetExceeded")
    return CallModel(state.step + 1)


def apply_reply(state: State, reply: ModelReply) -> State:
    """The reply of step `state.step + 1` was recorded."""
    expected = next_step(state)
    if not isinstance(expected, CallModel):
        raise IllegalOutcome(f"a reply came where {type(expected).__name__} was next")
    digest, repeats = state.last_digest, state.repeats
    for call in reply.calls:
        repeats = repeats + 1 if call.digest == digest else 1
        digest = call.digest
    usage, cost = _spent(state, reply)
    return replace(
        state,
        step=state.step + 1,
        usage=usage,
        cost=cost,
        pending=tuple(reply.calls),
        ended_turn=not reply.calls and not reply.more,
        spent=state.budget.is_spent(usage.total_tokens, cost) if reply.spent is None else reply.spent,
        cut_short=reply.cut_short and not reply.calls,
        last_digest=digest,
        repeats=repeats,
    )


def _spent(state: State, reply: ModelReply) -> tuple[Usage, float | None]:
    """What was spent until now: as the store counts it, or (replies recorded before it said so) the sum of replies."""
    if reply.total is not None:
        return reply.total, reply.total_cost
    return state.usage + reply.usage, state.cost if reply.cost is None else (state.cost or 0.0) + reply.cost


def apply_result(state: State, fate: ToolFate) -> State:
    """One of the pending calls has its result."""
    done = next((call for call in state.pending if call.id == fate.call_id), None)
    if done is None:
        raise IllegalOutcome(f"no call {fate.call_id} is waiting for a result")
    return replace(
        state,
        pending=tuple(call for call in state.pending if call is not done),
        task_completed=state.task_completed or (done.name == COMPLETE_TASK and fate.status == "success"),
    )
