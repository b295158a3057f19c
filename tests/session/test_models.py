"""Models: abilities by generation."""

from __future__ import annotations

import pytest

from session.models import card


@pytest.mark.parametrize(
    ("model", "thinking", "takes_temperature", "takes_effort"),
    [
        ("claude-sonnet-5-5", "adaptive", False, True),
        ("claude-opus-5", "adaptive", False, True),
        ("claude-opus-4-7", "adaptive", False, True),
        ("claude-sonnet-4-6", "adaptive", True, True),
        ("claude-opus-4-5-20251101", "budget", True, True),
        ("claude-haiku-4-5-20251001", "budget", True, False),
        ("claude-sonnet-4-20250514", "budget", True, False),
        ("claude-3-7-sonnet-20250219", "budget", True, False),
        ("claude-3-5-haiku-20241022", "none", True, False),
        ("claude-next", "adaptive", False, True),
        ("llama-4", "none", True, False),
    ],
)
def test_abilities_follow_the_generation(
    model: str, thinking: str, takes_temperature: bool, takes_effort: bool
) -> None:
    known = card(model)
    assert (known.thinking, known.takes_temperature, known.takes_effort) == (thinking, takes_temperature, takes_effort)


def test_only_models_that_know_the_highest_effort_are_asked_for_it() -> None:
    assert card("claude-opus-4-5").effort("max") == "high"
    assert card("claude-opus-5").effort("max") == "max"
