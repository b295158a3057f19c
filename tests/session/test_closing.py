"""Claims about endings: which facts end a stream, and that no ending can fail (CONTRACT §3, G1)."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.closing import PREVIEW_CHARS, Done, close, preview
from session.events import Complete, Error, Summary
from session.usage import Usage
from session.vocabulary import ERROR_OF, STATUS_OF, StopReason
from session.wire import Ending

REASONS: tuple[StopReason, ...] = get_args(StopReason)
FAILURES = tuple(ERROR_OF)


def done(**changes: Any) -> Done:
    values: dict[str, Any] = {
        "session_id": "sess_1",
        "model": "m",
        "provider": "anthropic",
        "steps": 3,
        "usage": Usage(1, 2, 3, 4),
        "cost": 0.5,
        "duration_ms": 99,
    }
    return Done(**(values | changes))


@pytest.mark.parametrize("reason", REASONS)
def test_every_ending_has_one_terminal_fact_in_its_order(reason: StopReason) -> None:
    closing = close(done(last_text="so far"), Ending(reason), "msg_1")
    kinds = [fact.type for fact in closing.facts]
    assert kinds == (["message_saved", "error"] if reason in ERROR_OF else ["summary", "complete", "message_saved"])
    assert closing.status == STATUS_OF[reason]
    assert (closing.error is not None) == (reason in ERROR_OF)


@pytest.mark.parametrize("reason", FAILURES)
def test_a_failure_is_told_with_its_code_and_keeps_what_was_said(reason: StopReason) -> None:
    closing = close(done(last_text="half a thought"), Ending(reason, "why"), "msg_1")
    error = closing.facts[-1]
    assert isinstance(error, Error)
    assert (error.code, error.message, error.stop_reason) == (ERROR_OF[reason], "why", reason)
    assert closing.content == "half a thought"
    assert close(done(), Ending(reason, "why"), "msg_1").content == "(why)"


@pytest.mark.parametrize(("reason", "given", "told"), [("timeout", False, True), ("providerError", False, False)])
def test_what_may_be_tried_again_says_so(reason: StopReason, given: bool, told: bool) -> None:
    error = close(done(), Ending(reason, retryable=given), "m").facts[-1]
    assert isinstance(error, Error)
    assert error.retryable is told
    other = close(done(), Ending("providerError", retryable=True), "m").facts[-1]
    assert isinstance(other, Error)
    assert other.retryable


def test_the_summary_is_what_complete_task_said() -> None:
    completion = {
        "summary": "all done",
        "artifacts": [{"type": "file", "id": "a.txt", "url": "u"}],
        "nextSteps": ["rest"],
    }
    closing = close(done(completion=completion, last_text="chatter"), Ending("taskCompleted"), "msg_1")
    summary = closing.facts[0]
    assert isinstance(summary, Summary)
    assert summary.data() == completion
    assert closing.content == closing.summary == "all done"


def test_a_turn_that_ended_is_summed_up_by_its_text() -> None:
    closing = close(done(last_text="the answer"), Ending("endTurn"), "msg_1")
    assert closing.content == closing.summary == "the answer"
    complete = closing.facts[1]
    assert isinstance(complete, Complete)
    assert (complete.total_tokens, complete.input_tokens, complete.output_tokens) == (10, 1, 2)


@pytest.mark.parametrize("completion", [{}, {"artifacts": []}])
def test_a_message_is_never_empty(completion: dict[str, Any]) -> None:
    assert close(done(completion=completion), Ending("endTurn"), "msg_1").content


TEXT = st.text("a ü🙂\n\x00\ud83d\ude42", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(REASONS),
    st.dictionaries(st.sampled_from(["summary", "artifacts", "nextSteps", "other"]), JSON),
    TEXT,
    TEXT,
)
def test_no_ending_fails_whatever_the_model_said(
    reason: StopReason, completion: dict[str, Any], text: str, message: str
) -> None:
    closing = close(done(completion=completion, last_text=text), Ending(reason, message), "msg_1")
    for fact in closing.facts:
        assert fact.frame(1)
    for stored in (closing.content, closing.summary):
        assert "\x00" not in stored
        assert stored.encode()
    assert closing.content


def test_what_is_not_an_artifact_is_left_out() -> None:
    said = {
        "summary": "s",
        "artifacts": ["x", {"type": "file"}, {"type": "t", "id": "i", "odd": 1}, {"type": "t", "id": "i"}],
    }
    summary = close(done(completion=said), Ending("taskCompleted"), "m").facts[0]
    assert isinstance(summary, Summary)
    assert summary.artifacts == [{"type": "t", "id": "i"}]


def test_a_preview_cuts_what_is_long_and_keeps_what_is_short() -> None:
    long = "x" * (PREVIEW_CHARS + 1)
    assert preview({"a": [1, None, True, "short"]}) == {"a": [1, None, True, "short"]}
    assert preview([{"result": {"content": long}}]) == [{"result": {"content": "x" * PREVIEW_CHARS + "…"}}]
    assert preview("x" * PREVIEW_CHARS) == "x" * PREVIEW_CHARS
    assert len(preview(list(range(1000)))) == 100
    assert len(preview({str(n): n for n in range(1000)})) == 100
