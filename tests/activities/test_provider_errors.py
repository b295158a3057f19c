"""A failed model call's posture: what is tried again, how long it waits, and when it is final."""

from __future__ import annotations

import anthropic
import httpx2
import pytest

from activities.provider_errors import MAX_ATTEMPTS, Cut, describe, posture
from session.masking import Masker

REQUEST = httpx2.Request("POST", "http://model.test/v1/messages")


def status(code: int, kind: str = "api_error", **headers: str) -> anthropic.APIStatusError:
    body = {"type": "error", "error": {"type": kind, "message": "told by the provider"}}
    response = httpx2.Response(code, headers=headers, json=body, request=REQUEST)
    return anthropic.APIStatusError("failed", response=response, body=body)


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 529])
def test_these_statuses_are_tried_again(code: int) -> None:
    verdict = posture(status(code), attempt=1, seconds_left=100)
    assert not verdict.final
    assert 0 < verdict.delay_seconds < 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422])
def test_other_refusals_are_final_and_not_worth_repeating(code: int) -> None:
    verdict = posture(status(code, "invalid_request_error"), attempt=1, seconds_left=100)
    assert verdict.final
    assert not verdict.retryable
    assert verdict.reason == "invalid_request_error: told by the provider"


def test_retry_after_is_waited_for() -> None:
    verdict = posture(status(429, "rate_limit_error", **{"retry-after": "7"}), attempt=1, seconds_left=100)
    assert (verdict.final, verdict.delay_seconds) == (False, 7)


def test_a_wait_beyond_the_deadline_is_final_at_once_and_says_so() -> None:
    verdict = posture(status(429, "rate_limit_error", **{"retry-after": "60"}), attempt=1, seconds_left=30)
    assert verdict.final
    assert verdict.retryable
    assert "60 s" in verdict.reason


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e9", ""])
def test_a_retry_after_that_makes_no_sense_is_passed_over(value: str) -> None:
    verdict = posture(status(429, **{"retry-after": value}), attempt=1, seconds_left=100)
    assert 0 < verdict.delay_seconds < 1


def test_delays_grow_and_end() -> None:
    delays = [posture(status(529), attempt, 1000).delay_seconds for attempt in range(1, MAX_ATTEMPTS)]
    assert delays[-1] > 10 * delays[0]
    assert max(delays) <= 24
    assert posture(status(529), MAX_ATTEMPTS, 1000).final


def test_an_error_event_inside_a_stream_is_judged_by_its_type() -> None:
    assert not posture(status(200, "overloaded_error"), 1, 100).final
    assert posture(status(200, "invalid_request_error"), 1, 100).final


@pytest.mark.parametrize(
    "error",
    [
        Cut("early"),
        anthropic.APIConnectionError(request=REQUEST),
        anthropic.APITimeoutError(REQUEST),
        httpx2.ReadTimeout("", request=REQUEST),
        httpx2.RemoteProtocolError("", request=REQUEST),
    ],
)
def test_broken_connections_and_cut_replies_are_tried_again(error: Exception) -> None:
    assert not posture(error, 1, 100).final
    assert describe(error)


def test_a_key_in_the_provider_s_words_is_masked_also_where_they_are_cut() -> None:
    body = {
        "type": "error",
        "error": {"type": "authentication_error", "message": "x" * 470 + " no key-0123456789abcdef"},
    }
    response = httpx2.Response(401, json=body, request=REQUEST)
    error = anthropic.APIStatusError("failed", response=response, body=body)
    verdict = posture(error, 1, 100, Masker(["key-0123456789abcdef"]))
    assert verdict.reason.endswith("x no [sec")
