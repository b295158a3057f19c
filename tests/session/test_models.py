"""Models: abilities by generation, prices in US dollars, and no guess where nothing is known."""

from __future__ import annotations

import pytest

from session.models import card, cost
from session.usage import Usage


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


def test_cost_is_told_in_dollars_with_the_cache_at_its_own_price() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000, cache_read_tokens=1_000_000, cache_write_tokens=0)
    assert cost("claude-sonnet-4-6", usage) == pytest.approx(3 + 1.5 + 0.3)


def test_a_dated_id_has_its_models_price() -> None:
    assert cost("claude-haiku-4-5-20251001", Usage(output_tokens=1_000_000)) == 5


def test_a_long_prompt_has_its_own_price() -> None:
    short, long = Usage(input_tokens=100_000), Usage(input_tokens=100_001)
    assert cost("claude-haiku-5-5", short) == pytest.approx(0.01)
    assert cost("claude-haiku-5-5", long) == pytest.approx(0.0500005)


def test_an_unknown_model_has_no_price() -> None:
    assert cost("claude-next", Usage(10, 10)) is None


def test_only_models_that_know_the_highest_effort_are_asked_for_it() -> None:
    assert card("claude-opus-4-5").effort("max") == "high"
    assert card("claude-opus-5").effort("max") == "max"
