"""Claims about PostgreSQL's connections in a process: whoever waits for one is served in turn, and nobody in vain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import make_url

from store import Database, Store, StoreUnavailable, open_database
from store import postgres as store_postgres
from store.bus import InProcessBus
from store.postgres import CONNECTIONS, TURN_SECONDS, postgresql_engine
from tests.store.conftest import PostgreSQL


async def test_who_waits_for_a_connection_in_vain_is_told_and_the_others_come_in_their_order(
    postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await postgres.create()
    store = Store.over(await open_database(postgres.url(name)), InProcessBus())
    came: list[int] = []

    async def one(number: int) -> None:
        async with store.database.read():
            came.append(number)

    async with AsyncExitStack() as held:
        for _ in range(CONNECTIONS):
            await held.enter_async_context(store.database.read())
        waiting = [asyncio.create_task(one(number)) for number in range(50)]
        await asyncio.sleep(0)
        monkeypatch.setattr(store_postgres, "TURN_SECONDS", 0.05)
        with pytest.raises(StoreUnavailable):
            await store.facts.head("sess_none")
        assert came == []
    await asyncio.gather(*waiting)
    # Those who are let in together are asked by the server who they are, in any order.
    assert all(abs(place - number) < CONNECTIONS for place, number in enumerate(came)), came
    await store.close()
    await postgres.drop(name)


async def test_nobody_waits_for_connections_that_could_not_be_made(postgres: PostgreSQL) -> None:
    database = Database(postgresql_engine(make_url(postgres.url("nowhere"))))
    store = Store.over(database, InProcessBus())
    async with asyncio.timeout(TURN_SECONDS - 2):
        asked = (store.facts.head("sess_none") for _ in range(3 * CONNECTIONS))
        told = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in told} == {StoreUnavailable}
    await store.close()
