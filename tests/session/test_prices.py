"""Prices: US dollars by model and day, and no guess where nothing is known."""

from __future__ import annotations

from datetime import date

import pytest

from session.prices import KNOWN_MODELS, cost, price_of
from session.usage import Usage

DAY = date(2026, 11, 26)


def test_cost_is_told_in_dollars_with_the_cache_at_its_own_price() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000, cache_read_tokens=1_000_000, cache_write_tokens=0)
    assert cost("claude-sonnet-4-6", usage, DAY) == pytest.approx(3 + 1.5 + 0.3)


def test_a_dated_id_has_its_models_price() -> None:
    assert cost("claude-haiku-4-5-20251001", Usage(output_tokens=1_000_000), DAY) == 5


def test_a_long_prompt_has_its_own_price() -> None:
    short, long = Usage(input_tokens=100_000), Usage(input_tokens=100_001)
    assert cost("claude-haiku-5-5", short, DAY) == pytest.approx(0.01)
    assert cost("claude-haiku-5-5", long, DAY) == pytest.approx(0.0500005)


def test_an_unknown_model_has_no_price() -> None:
    assert cost("claude-next", Usage(10, 10), DAY) is None


def test_the_price_of_a_call_is_that_of_its_day() -> None:
    read = Usage(cache_read_tokens=1_000_000)
    assert cost("claude-sonnet-5-5", read, date(2026, 10, 6)) == 0.2
    assert cost("claude-sonnet-5-5", read, date(2026, 10, 7)) == 0.1


def test_before_its_first_day_a_price_is_not_known() -> None:
    assert price_of("claude-haiku-5-5", date(2026, 10, 6)) is None
    assert price_of("claude-haiku-5-5", date(2026, 10, 7)) is not None


def test_every_entry_of_the_file_is_read_and_makes_sense() -> None:
    assert len(KNOWN_MODELS) == len(set(KNOWN_MODELS)) >= 16
    for model in KNOWN_MODELS:
        price = price_of(model, DAY)
        assert price is not None and 0 < price.cache_read < price.input < price.cache_write < price.output, model
