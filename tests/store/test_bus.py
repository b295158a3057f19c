"""Claims about the live bus. `bus` is the port's conformance suite: an adapter joins it as one more parameter."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest

from session.live import KEEP_DELTAS, Frame, StoredFact, model_scope, tool_scope
from session.vocabulary import CancelMode
from store.bus import REMEMBERED_ENDS, Bus, InProcessBus, Leave
from store.valkey import ValkeyBus
from tests.store.listening import settle

SCOPE = model_scope(1)


@pytest.fixture(params=["in-process", "valkey"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    made: Bus = InProcessBus() if request.param == "in-process" else ValkeyBus(request.getfixturevalue("valkey").url)
    yield made
    await made.close()


class Ear:
    """A reader that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.over = False

    def __call__(self, frames: list[Frame], over: bool) -> None:
        assert not self.over, "nothing follows the end"
        self.heard += [f"{frame.at} {frame.text}" for frame in frames]
        self.over = over


def fact(offset: int, closes: str = "", attempt: int = 0) -> StoredFact:
    return StoredFact(offset, "kind", f"fact {offset}", closes, attempt)


def begin(bus: Bus, session_id: str = "s") -> None:
    bus.publish_facts(session_id, [fact(3, SCOPE, 1)], False)


async def test_readers_hear_facts_and_deltas_in_the_order_in_which_they_came(bus: Bus) -> None:
    one, other = Ear(), Ear()
    bus.subscribe("s", one)
    bus.subscribe("s", other)
    begin(bus)
    bus.publish_delta("s", SCOPE, 1, "a")
    bus.publish_delta("s", SCOPE, 1, "b")
    bus.publish_facts("s", [fact(4, SCOPE), fact(5)], False)
    bus.publish_facts("s", [fact(6)], True)
    await settle(bus)
    assert one.heard == ["3 fact 3", "3.1 a", "3.2 b", "4 fact 4", "5 fact 5", "6 fact 6"]
    assert other.heard == one.heard
    assert one.over


async def test_a_late_joiner_is_given_the_deltas_that_are_kept_and_then_what_follows(bus: Bus) -> None:
    begin(bus)
    bus.publish_delta("s", SCOPE, 1, "a")
    await settle(bus)
    late = Ear()
    late(bus.subscribe("s", late)[0], False)
    bus.publish_delta("s", SCOPE, 1, "b")
    await settle(bus)
    assert late.heard[-2:] == ["3.1 a", "3.2 b"]
    bus.publish_facts("s", [fact(4, SCOPE)], False)
    await settle(bus)
    assert bus.subscribe("s", Ear())[0] == []


async def test_sessions_do_not_hear_each_other(bus: Bus) -> None:
    one, other = Ear(), Ear()
    bus.subscribe("s", one)
    bus.subscribe("t", other)
    begin(bus, "s")
    bus.publish_delta("s", SCOPE, 1, "a")
    bus.hint_cancel("s", "now")
    await settle(bus)
    assert other.heard == []
    hints: list[CancelMode] = []
    bus.on_cancel("t", hints.append)
    assert hints == []


async def test_an_older_attempt_is_not_heard(bus: Bus) -> None:
    ear = Ear()
    bus.subscribe("s", ear)
    begin(bus)
    bus.publish_facts("s", [fact(4, SCOPE, 2)], False)
    bus.publish_delta("s", SCOPE, 1, "old")
    bus.publish_delta("s", SCOPE, 2, "new")
    await settle(bus)
    assert [told.split()[1] for told in ear.heard if "fact" not in told] == ["new"]


async def test_who_has_left_hears_nothing_and_may_leave_twice(bus: Bus) -> None:
    ear, stays = Ear(), Ear()
    _, leave = bus.subscribe("s", ear)
    bus.subscribe("s", stays)
    leave()
    leave()
    begin(bus)
    await settle(bus)
    assert (ear.heard, stays.heard) == ([], ["3 fact 3"])


async def test_a_reader_may_leave_or_make_another_leave_while_it_is_told(bus: Bus) -> None:
    leaves: list[Leave] = []
    second = Ear()

    def first(frames: list[Frame], over: bool) -> None:
        for leave in leaves:
            leave()

    leaves.append(bus.subscribe("s", first)[1])
    leaves.append(bus.subscribe("s", second)[1])
    begin(bus)
    begin(bus)
    await settle(bus)
    assert second.heard == []


async def test_a_cancel_hint_reaches_those_who_run_and_those_who_begin_to(bus: Bus) -> None:
    before: list[CancelMode] = []
    after: list[CancelMode] = []
    begin(bus)
    leave = bus.on_cancel("s", before.append)
    bus.hint_cancel("s", "graceful")
    bus.hint_cancel("s", "now")
    bus.on_cancel("s", after.append)
    leave()
    leave()
    await settle(bus)
    assert (before, after) == (["graceful", "now"], ["now"])


async def test_a_graceful_hint_does_not_weaken_one_that_said_now(bus: Bus) -> None:
    hints: list[CancelMode] = []
    begin(bus)
    bus.hint_cancel("s", "now")
    bus.hint_cancel("s", "graceful")
    bus.on_cancel("s", hints.append)
    await settle(bus)
    assert hints == ["now"]


async def test_the_end_drops_the_session_and_what_comes_late_does_not_bring_it_back(bus: Bus) -> None:
    ear = Ear()
    bus.subscribe("s", ear)
    begin(bus)
    bus.publish_delta("s", tool_scope(1, "t"), 1, "a")
    bus.publish_facts("s", [fact(4)], True)
    bus.publish_facts("s", [fact(5)], False)
    bus.publish_delta("s", SCOPE, 1, "late")
    bus.hint_cancel("s", "now")
    late = Ear()
    kept, leave = bus.subscribe("s", late)
    bus.publish_delta("s", SCOPE, 1, "later")
    await settle(bus)
    assert (kept, ear.heard[-1]) == ([], "4 fact 4")
    assert not [told for told in late.heard if "late" in told], "what it meant to be live is over"
    leave()


async def test_a_bus_that_works_says_so_and_closes(bus: Bus) -> None:
    assert await bus.is_up()
    await bus.close()


def test_memory_is_bounded_for_a_talkative_session_and_for_many_that_are_over() -> None:
    bus = InProcessBus()
    begin(bus)
    for _ in range(KEEP_DELTAS * 3):
        bus.publish_delta("s", SCOPE, 1, "x")
    assert len(bus.subscribe("s", Ear())[0]) <= KEEP_DELTAS
    for n in range(REMEMBERED_ENDS):
        _live_and_end(bus, f"before {n}")
    before = _objects()
    for n in range(REMEMBERED_ENDS):
        _live_and_end(bus, f"after {n}")
    assert _objects() - before < REMEMBERED_ENDS // 4


def test_readers_who_come_and_go_leave_nothing() -> None:
    bus = InProcessBus()
    for n in range(10):
        bus.subscribe(f"warm {n}", Ear())[1]()
    before = _objects()
    for n in range(1000):
        bus.subscribe(f"{n}", Ear())[1]()
        bus.on_cancel(f"{n}", lambda mode: None)()
    assert _objects() - before < 250


def _live_and_end(bus: Bus, session_id: str) -> None:
    _, leave = bus.subscribe(session_id, Ear())
    begin(bus, session_id)
    bus.publish_delta(session_id, SCOPE, 1, "x")
    bus.publish_facts(session_id, [fact(4)], True)
    leave()


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
