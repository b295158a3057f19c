"""Claims about reading and listing sessions (CONTRACT §2)."""

import pytest

from session.resources import Session
from session.wire import Ending, SessionInput
from store import Store
from store.cursor import BadCursor
from store.ledger import NotFound
from store.sessions import Filters, session_input
from store.starting import Caller
from tests.store.acting import MODEL, Clock, begin_session, fields, new_session, step


async def listed(store: Store, **filters: object) -> list[str]:
    page, _ = await store.sessions.list(Filters(**filters), None, 100)  # type: ignore[arg-type]
    return [session.goal for session in page]


@pytest.fixture
async def some(store: Store, clock: Clock) -> list[Session]:
    """Three sessions, a second apart: created, running, cancelled."""
    made = []
    for goal in ("100% alpha", "beta_1", "Gamma"):
        clock.now += 1000
        made.append(await new_session(store, goal))
    await store.steps.begin(step(made[1]), 1)
    await store.endings.close(made[2].id, Ending("cancelled"))
    return made


async def test_sessions_are_listed_newest_first(store: Store, some: list[Session]) -> None:
    assert await listed(store) == ["Gamma", "beta_1", "100% alpha"]


async def test_filters_choose_and_combine(store: Store, some: list[Session]) -> None:
    assert await listed(store, statuses=("running",)) == ["beta_1"]
    assert await listed(store, statuses=("running", "cancelled")) == ["Gamma", "beta_1"]
    assert await listed(store, conversation_id=some[0].conversation_id) == ["100% alpha"]
    assert await listed(store, conversation_id=some[0].conversation_id, statuses=("running",)) == []
    assert await listed(store, model=MODEL) == ["Gamma", "beta_1", "100% alpha"]
    assert await listed(store, model="other") == []
    first = 1_700_000_001_000
    assert await listed(store, created_after_ms=first) == ["Gamma", "beta_1"]
    assert await listed(store, created_before_ms=first + 1000) == ["100% alpha"]


async def test_a_search_is_literal_and_does_not_mind_case(store: Store, some: list[Session]) -> None:
    assert await listed(store, q="%") == ["100% alpha"]
    assert await listed(store, q="_") == ["beta_1"]
    assert await listed(store, q="gamma") == ["Gamma"]
    assert await listed(store, q="a\x00") == []


async def test_pages_do_not_move_while_sessions_are_added(store: Store, clock: Clock) -> None:
    made = [(await new_session(store, str(n))).id for n in range(5)]
    page, cursor = await store.sessions.list(Filters(), None, 3)
    clock.now += 1
    await new_session(store, "added")
    rest, end = await store.sessions.list(Filters(), cursor, 3)
    assert [session.id for session in page + rest] == sorted(made, reverse=True)
    assert end is None
    with pytest.raises(BadCursor):
        await store.sessions.list(Filters(), "nonsense", 3)


async def test_what_is_not_over_is_what_the_reconciler_looks_after(store: Store, some: list[Session]) -> None:
    assert [row["goal"] for row in await store.sessions.unfinished()] == ["100% alpha", "beta_1"]
    assert await store.sessions.counts() == {"created": 1, "running": 1, "cancelled": 1}


async def test_the_workflow_s_input_holds_ids_and_limits_and_no_content(store: Store) -> None:
    started = await store.starting.start(fields("secret", maxBudget=5000, maxCostUsd=0.5), MODEL, Caller())
    row = await store.sessions.row(started.session.id)
    assert session_input(row, search_attributes=True) == SessionInput(
        started.session.id, row["deadline_ms"], 20, MODEL, 5000, 0.5, search_attributes=True
    )


@pytest.mark.parametrize("odd", ["sess_none", "", "x" * 500, "a\x00b", "'; DROP TABLE sessions; --"])
async def test_an_id_that_is_no_session_s_is_not_found(store: Store, odd: str) -> None:
    for asked in (store.sessions.get(odd), store.facts.head(odd), store.conversations.get(odd)):
        with pytest.raises(NotFound):
            await asked
    assert await store.facts.after(odd, 0) == []
    with pytest.raises(NotFound):
        await begin_session(store, into=odd or "none")


async def test_a_store_that_is_open_answers(store: Store) -> None:
    await store.ping()
