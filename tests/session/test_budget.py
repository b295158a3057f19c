"""Claims about budgets and usage."""

from __future__ import annotations

import pytest

from session.budget import LEAST_OUTPUT, Budget, budgeted
from session.prices import Price
from session.usage import Usage

TOKENS, MONEY = Budget(9, max_budget=1000), Budget(9, max_cost_usd=0.5)
BOTH = Budget(9, max_budget=1000, max_cost_usd=0.5)
PRICE = Price(10, 100, 1, 12.5)
NOTHING = Usage()


@pytest.mark.parametrize(("tokens", "due"), [(0, False), (799, False), (800, True), (900, True), (5000, True)])
def test_from_eighty_percent_on_the_budget_is_at_the_warning_level(tokens: int, due: bool) -> None:
    assert TOKENS.is_warning_level(tokens, None) is due
    assert MONEY.is_warning_level(10**9, tokens / 2000) is due


def test_without_a_budget_there_is_nothing_to_warn_of_and_nothing_to_trim() -> None:
    assert not Budget(9).is_warning_level(10**9, 10**9)
    assert Budget(9).allowance(Usage(10**9), 10**9, NOTHING, None) is None


def test_a_jump_beyond_the_budget_is_told_as_more_than_a_hundred_percent() -> None:
    assert TOKENS.percent_used(2500, None) == 250


def test_of_two_budgets_the_one_that_is_nearer_to_its_end_is_told() -> None:
    assert (BOTH.percent_used(100, 0.45), BOTH.percent_used(950, 0.1)) == (90, 95)


def test_tokens_of_every_kind_count_one_each_in_the_total() -> None:
    assert Usage(1, 2, 3, 4).total_tokens == 10
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)
    assert Usage(1, 2, 3, 4).published() == {
        "inputTokens": 1,
        "outputTokens": 2,
        "cacheReadTokens": 3,
        "cacheWriteTokens": 4,
        "totalTokens": 10,
    }


@pytest.mark.parametrize(("read", "counted"), [(0, 7), (1, 8), (10, 8), (11, 9), (100_000, 10_007)])
def test_ten_tokens_that_are_read_from_the_cache_count_as_one_in_a_budget(read: int, counted: int) -> None:
    assert budgeted(Usage(1, 2, read, 4)) == counted


def test_a_reply_may_be_as_long_as_the_tokens_that_its_prompt_leaves() -> None:
    assert TOKENS.allowance(NOTHING, None, NOTHING, None) == 1000
    last = Usage(input_tokens=100, output_tokens=50, cache_read_tokens=100)
    used = budgeted(last)
    assert TOKENS.allowance(last, None, last, None) == 1000 - used - (200 // 10 + 50)


def test_a_reply_may_be_as_long_as_the_money_that_its_prompt_leaves() -> None:
    assert MONEY.allowance(NOTHING, None, NOTHING, PRICE) == 5000
    last = Usage(input_tokens=10_000, output_tokens=1_000)
    left = 0.5 - 0.2 - (10_000 * 1 + 1_000 * 12.5) / 1e6
    assert MONEY.allowance(last, 0.2, last, PRICE) == int(left * 1e6 / 100)


def test_a_long_prompt_is_estimated_at_its_own_price() -> None:
    dear = Price(10, 100, 1, 12.5, over_tokens=1000, over=Price(10, 1000, 1, 12.5))
    assert MONEY.allowance(NOTHING, None, Usage(input_tokens=999), dear) == int((0.5 - 0.000999) * 1e6 / 100)
    assert MONEY.allowance(NOTHING, None, Usage(input_tokens=1001), dear) == int((0.5 - 0.001001) * 1e6 / 1000)


def test_of_two_budgets_the_shorter_one_counts() -> None:
    assert BOTH.allowance(NOTHING, None, NOTHING, PRICE) == 1000
    assert BOTH.allowance(NOTHING, 0.4375, NOTHING, PRICE) == 625


def test_a_call_that_could_say_hardly_anything_is_not_made() -> None:
    assert TOKENS.allowance(Usage(1000 - LEAST_OUTPUT), None, NOTHING, None) == LEAST_OUTPUT
    assert TOKENS.allowance(Usage(1001 - LEAST_OUTPUT), None, NOTHING, None) == 0
    assert TOKENS.allowance(Usage(5000), None, NOTHING, None) == 0


def test_money_that_cannot_be_counted_is_not_spent() -> None:
    assert MONEY.allowance(NOTHING, None, NOTHING, None) == 0
