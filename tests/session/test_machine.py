"""Claims about the state machine: what comes next, whatever the model says."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.budget import Budget
from session.machine import (
    CallModel,
    IllegalOutcome,
    Move,
    RunTools,
    State,
    Stop,
    apply_reply,
    apply_result,
    next_step,
)
from session.usage import Usage
from session.vocabulary import CallStatus
from session.wire import CallRef, ModelReply, ToolFate

ROOMY = Budget(max_steps=200)


def call(name: str = "read_file", digest: str = "d", call_id: str = "t1") -> CallRef:
    return CallRef(call_id, name, "readOnly", digest)


def reply(*calls: CallRef, tokens: int = 0, cost: float | None = None, **said: Any) -> ModelReply:
    return ModelReply(Usage(input_tokens=tokens), cost, list(calls), **said)


def answered(state: State, status: CallStatus = "success") -> State:
    for waiting in state.pending:
        state = apply_result(state, ToolFate(waiting.id, status))
    return state


def said(state: State, *calls: CallRef) -> State:
    return answered(apply_reply(state, reply(*calls)))


def test_a_fresh_session_calls_the_model_for_step_one() -> None:
    assert next_step(State(ROOMY)) == CallModel(1)


def test_a_reply_without_calls_ends_the_session() -> None:
    assert next_step(apply_reply(State(ROOMY), reply())) == Stop("endTurn")


def test_the_calls_of_a_reply_run_together_before_the_next_step() -> None:
    first, second = call(call_id="a", digest="1"), call(call_id="b", digest="2")
    state = apply_reply(State(ROOMY), reply(first, second))
    assert next_step(state) == RunTools(1, (first, second))
    state = apply_result(state, ToolFate("b", "success"))
    assert next_step(state) == RunTools(1, (first,))
    assert next_step(apply_result(state, ToolFate("a", "error"))) == CallModel(2)


def test_a_successful_complete_task_ends_the_session_and_a_failed_one_does_not() -> None:
    state = apply_reply(State(ROOMY), reply(call("complete_task")))
    assert next_step(apply_result(state, ToolFate("t1", "success"))) == Stop("taskCompleted")
    assert next_step(apply_result(state, ToolFate("t1", "error"))) == CallModel(2)


def test_complete_task_waits_for_the_calls_beside_it() -> None:
    other = call(call_id="t2", digest="e")
    state = apply_result(apply_reply(State(ROOMY), reply(call("complete_task"), other)), ToolFate("t1", "success"))
    assert next_step(state) == RunTools(1, (other,))
    assert next_step(apply_result(state, ToolFate("t2", "error"))) == Stop("taskCompleted")


def test_a_loop_is_seen_at_three_calls_running_and_not_at_two() -> None:
    state = said(State(ROOMY), call())
    assert next_step(state) == CallModel(2)
    state = said(state, call())
    assert next_step(state) == CallModel(3)
    assert next_step(said(state, call())) == Stop("loopDetected")


def test_another_call_in_between_starts_the_count_again() -> None:
    state = said(said(State(ROOMY), call()), call())
    state = said(state, call(digest="other"))
    state = said(said(state, call()), call())
    assert next_step(state) == CallModel(6)
    assert next_step(said(state, call())) == Stop("loopDetected")


def test_the_third_of_three_equal_calls_is_still_answered_before_the_session_ends() -> None:
    equal = [call(call_id=f"t{n}") for n in range(3)]
    state = apply_reply(State(ROOMY), reply(*equal))
    assert next_step(state) == RunTools(1, tuple(equal))
    assert next_step(answered(state)) == Stop("loopDetected")


def test_the_last_step_that_is_allowed_is_made_and_no_more() -> None:
    state = said(State(Budget(max_steps=2)), call(digest="1"))
    assert next_step(state) == CallModel(2)
    assert next_step(said(state, call(digest="2"))) == Stop("maxSteps")


@pytest.mark.parametrize(
    ("budget", "tokens", "cost", "move"),
    [
        (Budget(9, max_budget=1000), 999, None, CallModel(2)),
        (Budget(9, max_budget=1000), 1000, None, Stop("budgetExceeded")),
        (Budget(9, max_budget=1000), 5000, None, Stop("budgetExceeded")),
        (Budget(9, max_cost_usd=0.5), 0, 0.4999, CallModel(2)),
        (Budget(9, max_cost_usd=0.5), 0, 0.5, Stop("budgetExceeded")),
        (Budget(9, max_cost_usd=0.5), 10**9, None, CallModel(2)),
        (Budget(1, max_budget=1000), 5000, None, Stop("maxSteps")),
    ],
)
def test_a_budget_is_checked_before_the_next_reply_is_paid_for(
    budget: Budget, tokens: int, cost: float | None, move: Move
) -> None:
    state = answered(apply_reply(State(budget), reply(call(), tokens=tokens, cost=cost)))
    assert next_step(state) == move


@pytest.mark.parametrize("spent", [False, True])
def test_whether_the_budget_is_spent_is_heard_where_it_is_said(spent: bool) -> None:
    """The store counts what is read from the cache for less, and knows what the next prompt will take."""
    state = apply_reply(State(Budget(9, max_budget=1000)), reply(call(), tokens=5000 if not spent else 1, spent=spent))
    assert next_step(answered(state)) == (Stop("budgetExceeded") if spent else CallModel(2))


def test_a_reply_that_the_budget_cut_short_is_no_end_of_the_turn() -> None:
    assert next_step(apply_reply(State(Budget(1)), reply(cut_short=True))) == Stop("budgetExceeded")
    with_calls = apply_reply(State(ROOMY), reply(call(), cut_short=True, spent=False))
    assert next_step(answered(with_calls)) == CallModel(2)


def test_usage_and_cost_add_up_and_an_unpriced_reply_leaves_the_cost_as_it_was() -> None:
    state = answered(apply_reply(State(ROOMY), reply(call(), tokens=5)))
    assert state.cost is None
    state = answered(apply_reply(state, reply(call(digest="2"), tokens=7, cost=0.25)))
    state = answered(apply_reply(state, reply(call(digest="3"), cost=None)))
    assert (state.usage.total_tokens, state.cost) == (12, 0.25)


def test_no_reply_is_taken_while_calls_wait() -> None:
    state = apply_reply(State(ROOMY), reply(call()))
    with pytest.raises(IllegalOutcome):
        apply_reply(state, reply())
    assert state == apply_reply(State(ROOMY), reply(call()))


@pytest.mark.parametrize(
    "stopped",
    [
        State(ROOMY, ended_turn=True),
        State(ROOMY, task_completed=True),
        State(ROOMY, repeats=3),
        State(Budget(1), step=1),
        State(ROOMY, spent=True),
        State(ROOMY, cut_short=True),
    ],
)
def test_a_stopped_machine_takes_no_outcome_and_stays_stopped(stopped: State) -> None:
    before, kept = next_step(stopped), replace(stopped)
    assert isinstance(before, Stop)
    with pytest.raises(IllegalOutcome):
        apply_reply(stopped, reply(call()))
    with pytest.raises(IllegalOutcome):
        apply_result(stopped, ToolFate("t1", "success"))
    assert (stopped, next_step(stopped)) == (kept, before)


def test_a_result_that_nobody_waits_for_is_refused() -> None:
    state = apply_reply(State(ROOMY), reply(call()))
    with pytest.raises(IllegalOutcome, match="no call t9"):
        apply_result(state, ToolFate("t9", "success"))
    with pytest.raises(IllegalOutcome):
        apply_result(answered(state), ToolFate("t1", "success"))


CALLS = st.lists(st.tuples(st.sampled_from(["read_file", "exec", "complete_task"]), st.sampled_from("xyz")), max_size=4)


@given(
    st.lists(st.tuples(CALLS, st.integers(0, 700), st.randoms(use_true_random=False)), max_size=12),
    st.integers(1, 8),
    st.one_of(st.none(), st.integers(1000, 4000)),
)
def test_whatever_the_model_says_every_call_runs_once_before_it_is_asked_again(
    script: list[tuple[list[tuple[str, str]], int, object]], steps: int, tokens: int | None
) -> None:
    state = State(Budget(steps, tokens))
    asked: list[str] = []
    ran: list[str] = []
    for number, (named, spent, random) in enumerate(script, 1):
        move = next_step(state)
        if isinstance(move, Stop):
            break
        assert move == CallModel(number) == CallModel(state.step + 1)
        assert asked == ran, "the model is called only when every earlier call has its result"
        calls = [call(name, digest, f"{number}.{n}") for n, (name, digest) in enumerate(named)]
        state = apply_reply(state, reply(*calls, tokens=spent))
        order = sorted(calls, key=lambda ref: random.random())  # type: ignore[attr-defined]
        for done in order:
            assert isinstance(next_step(state), RunTools)
            state = apply_result(state, ToolFate(done.id, random.choice(["success", "error"])))  # type: ignore[attr-defined]
            ran.append(done.id)
        asked += [ref.id for ref in order]
    assert state.step <= steps
    assert len(ran) == len(set(ran))
