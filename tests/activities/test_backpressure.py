"""A worker takes no more tasks from Temporal than it can begin soon: what waits, waits there."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from temporalio.worker import SlotMarkUsedContext, SlotPermit, SlotReleaseContext, SlotReserveContext

from activities.backpressure import Backpressure

ASKED = cast(SlotReserveContext, None)
TASK: Any = object()


def taken(supplier: Backpressure) -> SlotPermit:
    permit = supplier.try_reserve_slot(ASKED)
    assert permit is not None
    return permit


def begun(supplier: Backpressure, permit: SlotPermit) -> None:
    supplier.mark_slot_used(cast(SlotMarkUsedContext, None))


def test_no_more_are_taken_ahead_than_may_be_and_what_begins_makes_room() -> None:
    supplier = Backpressure(slots=100, ahead=3)
    first = taken(supplier)
    taken(supplier)
    taken(supplier)
    assert supplier.try_reserve_slot(ASKED) is None
    begun(supplier, first)
    taken(supplier)
    assert supplier.try_reserve_slot(ASKED) is None


def test_no_more_run_at_once_than_there_are_slots_and_what_ends_makes_room() -> None:
    supplier = Backpressure(slots=2, ahead=3)
    running = [taken(supplier) for _ in range(2)]
    for permit in running:
        begun(supplier, permit)
    assert supplier.try_reserve_slot(ASKED) is None
    supplier.release_slot(SlotReleaseContext(slot_info=TASK, permit=running[0]))
    taken(supplier)
    assert supplier.try_reserve_slot(ASKED) is None


def test_a_slot_that_was_never_used_makes_room_for_both() -> None:
    supplier = Backpressure(slots=1, ahead=1)
    for _ in range(5):
        supplier.release_slot(SlotReleaseContext(slot_info=None, permit=taken(supplier)))
    taken(supplier)


async def test_whoever_waits_for_a_slot_has_it_when_there_is_one() -> None:
    supplier = Backpressure(slots=1, ahead=1)
    permit = taken(supplier)
    waiting = asyncio.create_task(supplier.reserve_slot(ASKED))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    supplier.release_slot(SlotReleaseContext(slot_info=None, permit=permit))
    assert isinstance(await asyncio.wait_for(waiting, 5), SlotPermit)
