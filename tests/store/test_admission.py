"""Claims about admission: the limits hold whoever starts and ends at once, and places go round in fair order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from session.policy import AdmissionPolicy
from session.resources import Session
from session.wire import Ending
from store import Store, open_database
from store.admission import QueueFull, Standing
from store.bus import InProcessBus
from store.sessions import Filters, session_input
from store.starting import Caller
from tests.store.acting import Clock, begin_session, step, types

Opening = Callable[..., "asyncio.Future[Store]"]


@pytest.fixture
async def opened(url: str, clock: Clock) -> AsyncIterator[Opening]:
    """Opens stores over one database, as several processes do, each with its own limits."""
    stores: list[Store] = []

    async def open_one(running: int | None = None, per_key: int | None = None, waiting: int | None = None) -> Store:
        policy = AdmissionPolicy(running, per_key, waiting)
        stores.append(Store.over(await open_database(url, clock), InProcessBus(), policy))
        return stores[-1]

    yield lambda *limits, **more: asyncio.ensure_future(open_one(*limits, **more))
    for store in stores:
        await store.close()


async def start(store: Store, key: str = "a") -> Session:
    clock = store.database.clock
    assert isinstance(clock, Clock)
    clock.now += 1
    return (await begin_session(store, caller=Caller(key))).session


async def waits(store: Store, session: Session | str) -> bool:
    row = await store.sessions.row(session if isinstance(session, str) else session.id)
    assert session_input(row, False).waits == (row["admitted_ms"] is None)
    return row["admitted_ms"] is None


async def end(store: Store, session: Session | str) -> list[str]:
    session_id = session if isinstance(session, str) else session.id
    await store.endings.close(session_id, Ending("endTurn"))
    return await store.admission.admit()


async def test_without_limits_nobody_waits_and_nothing_is_counted(opened: Opening) -> None:
    store = await opened()
    made = [await start(store) for _ in range(5)]
    for session in made:
        row = await store.sessions.row(session.id)
        assert row["admitted_ms"] == row["created_ms"]


async def test_beyond_the_limit_sessions_wait_and_each_end_admits_the_next(opened: Opening) -> None:
    store = await opened(2)
    first, second, third, fourth = [await start(store) for _ in range(4)]
    assert [await waits(store, one) for one in (first, second, third, fourth)] == [False, False, True, True]
    assert await types(store, third) == ["user_message", "session:start"]
    assert await end(store, second) == [third.id]
    row = await store.sessions.row(third.id)
    assert row["admitted_ms"] > row["created_ms"], "so that it is known to have waited"
    assert await end(store, first) == [fourth.id]
    assert await end(store, third) == []


async def test_the_limit_of_one_key_holds_up_no_other(opened: Opening) -> None:
    store = await opened(per_key=1)
    a1, a2, b1, a3 = [await start(store, key) for key in "aaba"]
    assert [await waits(store, one) for one in (a1, a2, b1, a3)] == [False, True, False, True]
    assert await end(store, b1) == []
    assert await end(store, a1) == [a2.id]


async def test_places_go_to_the_key_with_the_fewest_then_to_the_oldest(opened: Opening) -> None:
    store = await opened(2)
    running = [await start(store, "a") for _ in range(2)]
    line = [await start(store, key) for key in ("a", "a", "b", "c", "b")]
    order = []
    for _ in line:
        admitted = await end(store, running.pop(0))
        assert len(admitted) == 1
        order += [one for one in line if one.id in admitted]
        running.append(order[-1])
    assert order == [line[index] for index in (2, 0, 3, 1, 4)]


async def test_one_that_ended_while_it_waited_gives_its_place_in_the_line_up(opened: Opening) -> None:
    store = await opened(1)
    first, second, third = [await start(store) for _ in range(3)]
    assert await end(store, second) == []
    assert await end(store, first) == [third.id]
    await end(store, third)
    await store.conversations.delete(second.conversation_id)
    assert not await waits(store, await start(store))


async def test_a_newcomer_takes_no_place_that_is_due_to_others(opened: Opening) -> None:
    store = await opened(2)
    running = [await start(store, "a") for _ in range(2)]
    earlier = await start(store, "a")
    await store.endings.close(running[0].id, Ending("endTurn"))  # whoever closed it has not admitted anybody yet
    later = await start(store, "a")
    assert await waits(store, later)
    assert await store.admission.admit() == [earlier.id]


async def test_raised_limits_admit_more_and_removed_ones_all(opened: Opening) -> None:
    store = await opened(1)
    made = [await start(store) for _ in range(6)]
    assert await (await opened(3)).admission.admit() == [made[1].id, made[2].id]
    assert await (await opened()).admission.admit() == [one.id for one in made[3:]]
    assert await (await opened(2)).admission.admit() == [], "lowered ones throw nobody out"


async def test_a_full_queue_refuses_the_key_that_filled_it_and_stores_nothing(opened: Opening) -> None:
    store = await opened(1, waiting=1)
    running, waiting = await start(store), await start(store)
    conversation = await store.conversations.create("conv_01", None, None, {})
    with pytest.raises(QueueFull):
        await begin_session(store, caller=Caller("a", "key", "hash"), into=conversation.id)
    assert len((await store.sessions.list(Filters(), None, 100))[0]) == 2
    assert await store.conversations.messages(conversation.id) == []
    assert await waits(store, await start(store, "b")), "another key's line is not full"
    assert await end(store, running) == [waiting.id]
    again = await begin_session(store, caller=Caller("a", "key", "hash"), into=conversation.id)
    assert again.is_new and await waits(store, again.session)


async def test_the_same_key_finds_its_session_while_it_waits(opened: Opening) -> None:
    store = await opened(1, waiting=1)
    await start(store)
    caller = Caller("a", "key", "hash")
    first, second = [await begin_session(store, caller=caller) for _ in range(2)]
    assert (first.session.id, first.is_new, second.is_new) == (second.session.id, True, False)
    assert (await store.admission.standing()).waiting == {"a": 1}


async def test_one_that_runs_although_it_was_not_admitted_counts_when_it_is(opened: Opening) -> None:
    store = await opened(1)
    first, second = await start(store), await start(store)
    await store.steps.begin(step(second), 1)
    assert await end(store, first) == [second.id]
    assert await waits(store, await start(store))


async def test_starts_and_ends_at_once_in_several_processes_never_exceed_the_limits(opened: Opening) -> None:
    stores = [await opened(4, 3) for _ in range(3)]
    made: list[str] = []
    over: set[str] = set()
    turns: Counter[str] = Counter()
    busiest = 0

    async def starts(store: Store, key: str) -> None:
        for _ in range(6):
            started = await begin_session(store, caller=Caller(key))
            made.append(started.session.id)

    async def ends(store: Store) -> None:
        nonlocal busiest
        while len(over) < 36:
            running = (await store.admission.standing()).running
            busiest = max(busiest, sum(running.values()))
            assert sum(running.values()) <= 4 and all(held <= 3 for held in running.values())
            for session_id in [one for one in made if one not in over]:
                if not await waits(store, session_id) and session_id not in over:
                    over.add(session_id)
                    turns.update(await end(store, session_id))
                    break

    async with asyncio.timeout(60):
        begun = (starts(stores[number % 3], "ab"[number % 2]) for number in range(6))
        await asyncio.gather(*begun, *(ends(store) for store in stores))
    assert busiest == 4
    assert turns and max(turns.values()) == 1, "nobody is admitted twice"
    listed = (await stores[0].sessions.list(Filters(), None, 100))[0]
    assert [one.status for one in listed] == ["completed"] * 36
    assert await stores[0].admission.standing() == Standing({}, {})
