"""The line before the provider: first come first served, within the session's time, and left when cancelled."""

from __future__ import annotations

import asyncio
import time

import pytest

from activities.limiter import Limiter, NoTurn

MODEL = "claude-sonnet-5-5"
LONG = time.time() + 3600
EMPTY = {"anthropic-ratelimit-requests-limit": "1200", "anthropic-ratelimit-requests-remaining": "0"}


async def emptied(limiter: Limiter) -> None:
    async with limiter.turn(MODEL, LONG) as call:
        call.hear(EMPTY)


async def test_whoever_came_first_starts_first() -> None:
    limiter, started = Limiter(), list[int]()

    async def one(number: int) -> None:
        async with limiter.turn(MODEL, LONG):
            started.append(number)

    await emptied(limiter)
    await asyncio.gather(*(one(number) for number in range(5)))
    assert started == [0, 1, 2, 3, 4]


async def test_a_turn_after_the_session_s_limit_is_refused_at_once() -> None:
    limiter = Limiter()
    async with limiter.turn(MODEL, LONG) as call:
        call.hear({**EMPTY, "retry-after": "60"})
    began = time.monotonic()
    with pytest.raises(NoTurn, match="60 s"):
        async with limiter.turn(MODEL, time.time() + 30):
            raise AssertionError("it has no turn")
    assert time.monotonic() - began < 5


async def test_who_is_cancelled_leaves_the_line_and_takes_nothing() -> None:
    limiter = Limiter()
    async with limiter.turn(MODEL, LONG) as call:
        call.hear({"retry-after": "0.1"})
    waiting = [asyncio.create_task(limiter.turn(MODEL, LONG).__aenter__()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    await asyncio.wait_for(waiting[2], 5)
    assert waiting[0].cancelled() and waiting[1].cancelled()


async def test_models_have_lines_of_their_own_and_dated_ids_share_one() -> None:
    limiter = Limiter()
    async with limiter.turn("claude-haiku-4-5-20251001", LONG) as call:
        call.hear({"retry-after": "60"})
    async with limiter.turn(MODEL, time.time() + 1):
        pass
    with pytest.raises(NoTurn):
        async with limiter.turn("claude-haiku-4-5", time.time() + 1):
            pass


async def test_the_others_go_when_the_first_answer_is_heard() -> None:
    limiter = Limiter()
    async with limiter.turn(MODEL, LONG) as call:
        second = asyncio.create_task(limiter.turn(MODEL, LONG).__aenter__())
        await asyncio.sleep(0)
        assert not second.done()
        call.hear({})
        await asyncio.wait_for(second, 0.5)
