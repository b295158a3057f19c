"""Claims about budgets and usage."""

import pytest

from session.budget import is_warning_level, percent_used
from session.usage import Usage


def used(tokens: int) -> Usage:
    return Usage(input_tokens=tokens)


@pytest.mark.parametrize(("tokens", "due"), [(0, False), (799, False), (800, True), (900, True), (5000, True)])
def test_from_eighty_percent_on_the_budget_is_at_the_warning_level(tokens: int, due: bool) -> None:
    assert is_warning_level(used(tokens), 1000) is due


def test_without_a_budget_there_is_nothing_to_warn_of() -> None:
    assert not is_warning_level(used(10**9), None)


def test_a_jump_beyond_the_budget_is_told_as_more_than_a_hundred_percent() -> None:
    assert percent_used(used(2500), 1000) == 250


def test_tokens_of_every_kind_count_one_each() -> None:
    assert Usage(1, 2, 3, 4).total_tokens == 10
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)
    assert Usage(1, 2, 3, 4).published() == {
        "inputTokens": 1,
        "outputTokens": 2,
        "cacheReadTokens": 3,
        "cacheWriteTokens": 4,
        "totalTokens": 10,
    }
