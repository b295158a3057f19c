"""Claims about the start fields: what a client may say, and what it gets when it says nothing (CONTRACT §2)."""

from typing import Any

import pytest
from pydantic import ValidationError

from session.start import StartFields, StartSession

GOOD: list[tuple[str, Any]] = [
    ("content", "x" * 200_000),
    ("model", "claude-opus-5"),
    ("provider", "anthropic"),
    ("temperature", 0),
    ("temperature", 2),
    ("effort", "max"),
    ("maxSteps", 1),
    ("maxSteps", 200),
    ("maxBudget", 1000),
    ("maxCostUsd", 0.01),
    ("showThinking", False),
    ("securityMode", "deny"),
    ("allowedTools", []),
    ("allowedTools", ["exec"]),
    ("systemPrompt", ""),
    ("timeoutSeconds", 1),
    ("timeoutSeconds", 180),
    ("workspace", "a/b c"),
    ("workspace", "..a"),
    ("memorySessionId", "mem_1"),
    ("metadata", {f"k{n}": n for n in range(16)}),
    ("onConflict", "reject"),
    ("conversationId", "conv_01"),
    ("conversationId", "C" * 128),
]
BAD: list[tuple[str, Any]] = [
    ("content", ""),
    ("content", "x" * 200_001),
    ("content", "a\x00b"),
    ("content", "\ud800"),
    ("content", 7),
    ("model", ""),
    ("model", "m\x00"),
    ("provider", "other"),
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", float("nan")),
    ("effort", "extreme"),
    ("maxSteps", 0),
    ("maxSteps", 201),
    ("maxSteps", 1.5),
    ("maxBudget", 999),
    ("maxCostUsd", 0),
    ("maxCostUsd", float("inf")),
    ("securityMode", "none"),
    ("allowedTools", "exec"),
    ("allowedTools", ["a\x00"]),
    ("timeoutSeconds", 0),
    ("timeoutSeconds", 181),
    ("workspace", "/etc"),
    ("workspace", "a/../../b"),
    ("workspace", ".."),
    ("workspace", "a\\b"),
    ("workspace", ""),
    ("metadata", {f"k{n}": n for n in range(17)}),
    ("metadata", []),
    ("metadata", {"k": ["\ud800"]}),
    ("metadata", {"\x00": 1}),
    ("onConflict", "never"),
    ("conversationId", ""),
    ("conversationId", "a/b"),
    ("conversationId", "../a"),
    ("conversationId", "C" * 129),
    ("conversationId", "conv_01\n"),
    ("maxstep", 5),
    ("max_stepz", 5),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_good_field_is_taken(name: str, value: Any) -> None:
    taken = StartSession.model_validate({"content": "hi", name: value})
    assert taken.model_dump(by_alias=True)[name] == value


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_field_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        StartSession.model_validate({"content": "hi", name: value})
    assert {str(error["loc"][0]) for error in refused.value.errors()} == {name}


def test_content_is_all_that_is_needed() -> None:
    with pytest.raises(ValidationError):
        StartFields.model_validate({})
    fields = StartFields.model_validate({"content": "hi"})
    assert (fields.effort, fields.security_mode, fields.timeout_seconds) == ("medium", "full", 180)
    assert (fields.show_thinking, fields.provider, fields.on_conflict) == (True, "anthropic", "reject")
    assert (fields.max_budget, fields.max_cost_usd, fields.model, fields.metadata) == (None, None, None, {})


@pytest.mark.parametrize(("effort", "steps"), [("low", 5), ("medium", 20), ("high", 50), ("max", 200)])
def test_effort_gives_the_step_budget_unless_max_steps_says_otherwise(effort: str, steps: int) -> None:
    assert StartFields.model_validate({"content": "hi", "effort": effort}).step_budget == steps
    assert StartFields.model_validate({"content": "hi", "effort": effort, "maxSteps": 7}).step_budget == 7
