"""Claims about reading apart: the loop goes on meanwhile, and who is cancelled lets go."""

import asyncio
import threading
import time

import pytest
from sqlalchemy import Connection, text

from store import Store

LONG = text(
    "WITH RECURSIVE counted(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM counted WHERE x < 1000000000) "
    "SELECT count(*) FROM counted"
)


def take_long(connection: Connection) -> int:
    return int(connection.execute(LONG).scalar_one())


async def test_the_loop_goes_on_while_something_takes_long_and_a_cancelled_read_lets_go(store: Store) -> None:
    reading = asyncio.create_task(store.database.apart(take_long))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not reading.done()
    await store.ping()
    reading.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert time.monotonic() - began < 5
    assert await store.database.apart(lambda connection: connection.execute(text("SELECT 7")).scalar_one()) == 7


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL has a connection for each
async def test_a_read_that_is_cancelled_twice_keeps_its_connection_until_it_is_over(store: Store) -> None:
    """Two threads on one connection of SQLite is what must not be."""
    goes_on, over = threading.Event(), threading.Event()

    def stubborn(connection: Connection) -> None:
        goes_on.wait(10)
        over.set()

    reading = asyncio.create_task(store.database.apart(stubborn))
    for _ in range(2):
        await asyncio.sleep(0.01)
        reading.cancel()
    following = asyncio.create_task(store.database.apart(lambda connection: over.is_set()))
    done, _ = await asyncio.wait({reading, following}, timeout=0.05)
    goes_on.set()
    assert not done and await following
    with pytest.raises(asyncio.CancelledError):
        await reading
