"""The fake's rate limit: what is told with every answer, and what is beyond it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from anthropic import AsyncAnthropic, RateLimitError

from fake_model.rates import Headers, Rates
from fake_model.refusal import Refused
from fake_model.serve import running
from tests.fake_model.good import good


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def taken(rates: Rates, owner: str = "key model") -> dict[str, str]:
    told: Headers = []
    try:
        rates.take(owner, told)
    except Refused as refused:
        told.append((b"retry-after", str(refused.retry_after).encode()))
    return {name.decode().removeprefix("anthropic-ratelimit-requests-"): value.decode() for name, value in told}


def test_what_is_left_goes_down_and_comes_back_all_the_time() -> None:
    clock = Clock()
    rates = Rates(2, clock)
    first = taken(rates)
    assert (first["limit"], first["remaining"]) == ("2", "1")
    assert datetime.fromisoformat(first["reset"]).timestamp() == pytest.approx(clock.now + 0.5)
    assert taken(rates)["remaining"] == "0"
    assert taken(rates)["retry-after"] == "1", "in whole seconds, as the API does"
    assert "retry-after" not in taken(rates, "another model")
    clock.now += 0.5
    assert "retry-after" not in taken(rates)


def test_without_a_limit_nothing_is_told() -> None:
    assert taken(Rates()) == {}


@pytest.fixture
async def limited() -> AsyncIterator[AsyncAnthropic]:
    async with (
        running(requests_per_second=1) as fake,
        AsyncAnthropic(api_key="a key", base_url=fake.url, max_retries=0) as client,
    ):
        yield client


async def test_every_answer_tells_of_the_limit_and_what_is_beyond_it_is_a_429(limited: AsyncAnthropic) -> None:
    answer = await limited.messages.with_raw_response.create(**good())
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
    with pytest.raises(RateLimitError) as refused:
        await limited.messages.create(**good())
    assert refused.value.response.headers["retry-after"] == "1"
    assert refused.value.response.headers["anthropic-ratelimit-requests-limit"] == "1"
