"""Claims about events: the published table (CONTRACT §3), written down by hand, is what the classes say."""

import json
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from session.events import EVENTS, AnyEvent, Complete, Content, Delta, Event, Result, ResultError

TABLE: dict[str, str] = {
    "user_message": "id content compactionApplied messageCount",
    "session:start": "sessionId conversationId goal model provider effort maxSteps maxBudget securityMode deadline"
    " memory",
    "step:start": "step attempt maxSteps usedBudget maxBudget",
    "thinking:start": "step",
    "thinking:update": "step delta",
    "thinking:end": "step text",
    "content:delta": "step delta",
    "content": "step text",
    "tool:call": "toolCallId id name arguments args step securityLevel",
    "tool:progress": "toolCallId stream delta",
    "approval:required": "approvalId toolCallId name arguments securityLevel expiresAt",
    "approval:resolved": "approvalId decision by",
    "tool:result": "toolCallId id name status result durationMs step",
    "step:complete": "step usage usedBudget budgetRemaining stepsRemaining toolCallsInStep durationMs",
    "step:retry": "step attempt reason retryAfterMs",
    "budget:warning": "percentUsed usedBudget maxBudget",
    "fallback": "from to reason",
    "session:cancelling": "mode reason by",
    "summary": "summary artifacts nextSteps",
    "complete": "sessionId model provider totalSteps totalTokens inputTokens outputTokens cost stopReason durationMs"
    " toolCalls",
    "message_saved": "id",
    "error": "code message sessionId stopReason retryable",
}
DELTAS = {"thinking:update", "content:delta", "tool:progress"}
SAMPLE: dict[str, Any] = {
    "compactionApplied": False,
    "effort": "medium",
    "securityMode": "full",
    "securityLevel": "safe",
    "stream": "stdout",
    "status": "success",
    "from": {"model": "a"},
    "to": {"model": "b"},
    "mode": "now",
    "stopReason": "timeout",
    "code": "TIMEOUT",
    "cost": 0.5,
    "retryable": True,
    "arguments": {"a": [1, None, "ü"]},
    "args": {"a": [1, None, "ü"]},
    "result": {"success": True, "content": "x"},
    "usage": {"totalTokens": 1},
    "artifacts": [{"type": "file", "id": "1"}],
    "nextSteps": ["rest"],
    "toolCalls": [],
    "memory": [{"path": "a.md", "startLine": 1, "endLine": 2}],
}
NUMBERS = {
    "messageCount",
    "maxSteps",
    "maxBudget",
    "step",
    "attempt",
    "usedBudget",
    "durationMs",
    "budgetRemaining",
    "stepsRemaining",
    "toolCallsInStep",
    "retryAfterMs",
    "percentUsed",
    "totalSteps",
    "totalTokens",
    "inputTokens",
    "outputTokens",
}


def sample(kind: str) -> dict[str, Any]:
    return {name: 7 if name in NUMBERS else SAMPLE.get(name, "text ü 🙂 \n") for name in TABLE[kind].split()}


def test_the_published_events_are_those_of_the_contract() -> None:
    assert set(EVENTS) == set(TABLE)
    assert {cls.model_fields["type"].default for cls in get_args(Delta)} == DELTAS


@pytest.mark.parametrize("kind", TABLE)
def test_an_event_has_exactly_the_fields_of_the_contract(kind: str) -> None:
    data = sample(kind)
    event = EVENTS[kind].model_validate(data)
    assert event.data() == data
    with pytest.raises(ValidationError):
        EVENTS[kind].model_validate(data | {"extra": 1})
    for name in data:
        if name not in ("compactionApplied", "memory"):
            with pytest.raises(ValidationError):
                EVENTS[kind].model_validate({other: value for other, value in data.items() if other != name})


@pytest.mark.parametrize("kind", TABLE)
def test_a_frame_reads_back_as_the_event_that_it_was(kind: str) -> None:
    event = EVENTS[kind].model_validate(sample(kind))
    text = event.frame(1_700_000_000_123)
    assert "\n" not in text
    frame = json.loads(text)
    assert list(frame) == ["type", "data", "timestamp"]
    assert frame["timestamp"] == 1_700_000_000_123
    back: Event = AnyEvent.validate_python({"type": frame["type"], **frame["data"]})
    assert back == event
    assert type(back) is EVENTS[kind]


@pytest.mark.parametrize("kind", TABLE)
def test_an_event_cannot_be_changed(kind: str) -> None:
    with pytest.raises(ValidationError):
        EVENTS[kind].model_validate(sample(kind)).type = "other"  # type: ignore[misc]


def test_content_says_partial_only_when_it_is() -> None:
    assert Content(step=1, text="a").data() == {"step": 1, "text": "a"}
    assert Content(step=1, text="a", partial=True).data() == {"step": 1, "text": "a", "partial": True}


def test_a_session_that_begins_with_no_passages_says_nothing_of_memory() -> None:
    data = {name: value for name, value in sample("session:start").items() if name != "memory"}
    assert EVENTS["session:start"].model_validate(data).data() == data


def test_fields_without_a_value_are_sent_as_null() -> None:
    complete = Complete.model_validate(sample("complete") | {"cost": None})
    assert complete.data()["cost"] is None
    start = EVENTS["session:start"].model_validate(sample("session:start") | {"maxBudget": None})
    assert start.data()["maxBudget"] is None


def test_a_result_holds_content_or_error_and_says_truncated_only_when_it_is() -> None:
    assert Result(success=True, content="x").published() == {"success": True, "content": "x"}
    assert Result(success=True, content="", truncated=True).published() == {
        "success": True,
        "content": "",
        "truncated": True,
    }
    failed = Result(success=False, error=ResultError(code="C", message="m"))
    assert failed.published() == {"success": False, "error": {"code": "C", "message": "m"}}


def test_a_frame_is_one_line_however_its_reader_splits_lines() -> None:
    text = "a\r\nb\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029é"
    frame = Content(step=1, text=text).frame(0)
    assert frame.splitlines() == [frame]
    assert json.loads(frame)["data"]["text"] == text
