"""The pace of model calls, by what the provider says of its limits, on a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from activities.pacing import FIRST_ANSWER_SECONDS, WINDOW_SECONDS, Pace
from session.usage import Usage

NOW = 1_790_000_000.0
NOTHING = Usage()


def told(
    kind: str = "requests", *, limit: float = 60, left: float = 60, full_in: float = 0, **more: str
) -> dict[str, str]:
    name = f"anthropic-ratelimit-{kind}"
    full = datetime.fromtimestamp(NOW + full_in, UTC).isoformat().replace("+00:00", "Z")
    return {f"{name}-limit": f"{limit:g}", f"{name}-remaining": f"{left:g}", f"{name}-reset": full, **more}


def after_one_call(headers: dict[str, str], usage: Usage = NOTHING) -> Pace:
    pace = Pace()
    pace.start(NOW)
    pace.hear(headers, NOW)
    pace.end(usage)
    return pace


def test_before_anything_is_known_one_call_goes_ahead_and_the_others_wait_a_moment() -> None:
    pace = Pace()
    assert pace.wait(NOW) == 0
    pace.start(NOW)
    assert pace.wait(NOW) == FIRST_ANSWER_SECONDS
    assert pace.wait(NOW + FIRST_ANSWER_SECONDS) == 0


def test_a_first_call_that_fails_without_an_answer_lets_the_next_one_go_ahead() -> None:
    pace = Pace()
    pace.start(NOW)
    pace.end(Usage())
    assert pace.wait(NOW) == 0


def test_without_headers_nothing_is_limited() -> None:
    pace = after_one_call({})
    for _ in range(1000):
        assert pace.wait(NOW) == 0
        pace.start(NOW)


def test_calls_on_their_way_are_counted_and_the_rest_waits_until_there_is_more() -> None:
    pace = after_one_call(told(limit=60, left=2))
    for _ in range(2):
        assert pace.wait(NOW) == 0
        pace.start(NOW)
    assert pace.wait(NOW) == pytest.approx(1.0), "sixty a minute are one a second"
    assert pace.wait(NOW, ahead=4) == pytest.approx(5.0)
    assert pace.wait(NOW + 1) == pytest.approx(0.0)


def test_a_bucket_that_is_nearly_empty_tells_how_fast_it_is_filled() -> None:
    pace = after_one_call(told(limit=10, left=0, full_in=1.0))
    assert pace.wait(NOW) == pytest.approx(0.1)
    pace.hear(told(limit=10, left=9, full_in=0.3), NOW)
    assert pace.wait(NOW, ahead=8) == pytest.approx(0, abs=1e-6)


def test_what_others_use_is_counted() -> None:
    pace = after_one_call(told(limit=60, left=50))
    pace.start(NOW)
    pace.start(NOW)
    pace.hear(told(limit=60, left=0, full_in=60), NOW)
    assert pace.wait(NOW) > 0


def test_an_answer_that_was_overtaken_gives_nothing_back() -> None:
    pace = after_one_call(told(limit=60, left=3))
    for _ in range(3):
        pace.start(NOW)
    pace.hear(told(limit=60, left=2), NOW)
    assert pace.wait(NOW) > 0


def test_a_retry_after_holds_all_calls_back() -> None:
    pace = after_one_call({"retry-after": "7"})
    assert pace.wait(NOW) == 7
    assert pace.wait(NOW + 7) == 0
    assert after_one_call({"retry-after": "3600"}).wait(NOW) == 60, "limits are per minute: then it is asked again"


@pytest.mark.parametrize("kind", ["tokens", "input-tokens", "output-tokens"])
def test_tokens_are_taken_as_calls_usually_take_them(kind: str) -> None:
    pace = after_one_call(told(kind, limit=6000, left=2000), Usage(input_tokens=1000, output_tokens=1000))
    needed = 2000 if kind == "tokens" else 1000
    pace.start(NOW)
    assert pace.wait(NOW) == pytest.approx(max(0, 2 * needed - 2000) / 100)


def test_a_call_that_takes_more_than_the_limit_holds_is_left_to_the_provider() -> None:
    pace = after_one_call(told("tokens", limit=600, left=600), Usage(input_tokens=100_000))
    assert pace.wait(NOW) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"anthropic-ratelimit-requests-limit": "many"},
        told(limit=0, left=0),
        told(limit=10, left=-1),
        told(limit=10, left=11),
        told(limit=float("nan"), left=0),
        {"retry-after": "soon"},
    ],
)
def test_headers_that_make_no_sense_are_passed_over(bad: dict[str, str]) -> None:
    assert after_one_call(bad).wait(NOW) == 0


def test_a_clock_that_goes_back_neither_fills_nor_blocks() -> None:
    pace = after_one_call(told(limit=60, left=0))
    assert pace.wait(NOW - 100) == pytest.approx(1.0)
    assert pace.wait(NOW + 1) == pytest.approx(0.0)


def test_a_clock_that_is_set_back_makes_nobody_wait_for_it() -> None:
    hour = 3600.0
    pace = after_one_call(told(limit=60, left=0) | {"retry-after": "5"})
    assert pace.wait(NOW - hour) == WINDOW_SECONDS, "how long it was held is not known any more"
    assert pace.wait(NOW - hour + WINDOW_SECONDS) == 0
    first = Pace()
    first.start(NOW)
    assert first.wait(NOW - hour) == FIRST_ANSWER_SECONDS
    assert first.wait(NOW - hour + FIRST_ANSWER_SECONDS) == 0
