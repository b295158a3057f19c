"""Claims about the status table and the vocabulary (CONTRACT §1)."""

from itertools import product
from typing import get_args

import pytest

from session.status import MOVES, IllegalMove, is_terminal, move, sources
from session.vocabulary import ERROR_OF, STATUS_OF, STEPS_OF_EFFORT, Effort, ErrorCode, SessionStatus, StopReason

STATUSES: tuple[SessionStatus, ...] = get_args(SessionStatus)
LEGAL = {
    ("created", "queued"),
    ("created", "running"),
    ("created", "completed"),
    ("created", "failed"),
    ("created", "cancelled"),
    ("queued", "running"),
    ("queued", "completed"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "cancelled"),
}


@pytest.mark.parametrize(("current", "to"), list(product(STATUSES, STATUSES)))
def test_a_status_moves_along_the_table_and_nowhere_else(current: SessionStatus, to: SessionStatus) -> None:
    if (current, to) in LEGAL:
        assert move(current, to) == to
    else:
        with pytest.raises(IllegalMove, match=f"{current} cannot become {to}"):
            move(current, to)


def test_a_terminal_status_never_changes() -> None:
    assert {status for status in STATUSES if not MOVES[status]} == {"completed", "failed", "cancelled"}
    assert {status for status in STATUSES if is_terminal(status)} == {"completed", "failed", "cancelled"}


@pytest.mark.parametrize("to", STATUSES)
def test_the_sources_of_a_status_are_those_that_may_become_it(to: SessionStatus) -> None:
    assert sources(to) == {current for current, target in LEGAL if target == to}


def test_every_stop_reason_leads_to_its_status() -> None:
    told = {
        "completed": {"endTurn", "taskCompleted", "maxSteps", "budgetExceeded", "loopDetected"},
        "failed": {"timeout", "providerError", "internalError"},
        "cancelled": {"cancelled"},
    }
    assert set(get_args(StopReason)) == set(STATUS_OF) == set().union(*told.values())
    assert {reason: status for status, reasons in told.items() for reason in reasons} == STATUS_OF


def test_an_ending_has_an_error_code_exactly_when_the_session_did_not_complete() -> None:
    assert set(ERROR_OF) == {reason for reason, status in STATUS_OF.items() if status != "completed"}
    assert set(ERROR_OF.values()) == set(get_args(ErrorCode)) == {"TIMEOUT", "CANCELLED", "PROVIDER_ERROR", "INTERNAL"}


def test_each_effort_has_its_step_budget() -> None:
    assert STEPS_OF_EFFORT == {"low": 5, "medium": 20, "high": 50, "max": 200}
    assert set(get_args(Effort)) == set(STEPS_OF_EFFORT)
