"""Claims about budgets and usage."""

import pytest

from session.budget import percent_used, warning_due
from session.usage import Usage


def used(tokens: int) -> Usage:
    return Usage(input_tokens=tokens)


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [
        (0, 799, False),
        (0, 800, True),
        (799, 800, True),
        (799, 5000, True),
        (800, 900, False),
        (900, 5000, False),
        (0, 0, False),
    ],
)
def test_the_warning_is_due_for_the_one_reply_that_passes_eighty_percent(before: int, after: int, due: bool) -> None:
    assert warning_due(used(before), used(after), 1000) is due


def test_without_a_budget_there_is_nothing_to_warn_of() -> None:
    assert not warning_due(used(0), used(10**9), None)


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
