"""Claims about a database that is away, locked or full: StoreUnavailable, nothing kept, and all is well afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import text

from cli.start_dev import free_ports
from session.wire import Ending
from store import Store, StoreUnavailable, open_database
from store.bus import InProcessBus
from store.sqlite import sqlite_engine
from tests.store.acting import begin_session, new_session, reply, step, types
from tests.store.conftest import PostgreSQL
from tests.survival.links import Link

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process holds the write lock until it reads a line."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        yield holder
    finally:
        await holder.communicate(b"\n")


async def on_sqlite(path: Path, busy_timeout_seconds: float) -> Store:
    url = f"sqlite:///{path}"
    return Store.over(await open_database(url, busy_timeout_seconds=busy_timeout_seconds), InProcessBus())


async def test_a_write_waits_for_another_process_and_succeeds(tmp_path: Path) -> None:
    store = await on_sqlite(tmp_path / "p.db", 10)
    session = await new_session(store)
    async with locked(tmp_path / "p.db") as holder:
        writing = asyncio.create_task(store.steps.begin(step(session), 1))
        assert await types(store, session) == ["user_message", "session:start"], "readers do not wait"
        await asyncio.wait([writing], timeout=1)
        assert not writing.done()
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
        await writing
    assert (await types(store, session))[-1] == "step:start"
    await store.close()


async def test_closing_waits_for_a_transaction_that_goes_on(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/p.db")
    async with asyncio.TaskGroup() as tasks, database.write() as connection:
        await connection.execute(text("CREATE TABLE kept (x INTEGER)"))
        closing_it = tasks.create_task(database.close())
        await asyncio.wait([closing_it], timeout=0.2)
        await connection.execute(text("INSERT INTO kept VALUES (1)"))

    async with database.read() as connection:
        assert (await connection.execute(text("SELECT x FROM kept"))).scalar_one() == 1
    await database.close()


async def test_a_lock_held_longer_than_the_timeout_is_told_and_nothing_was_written(tmp_path: Path) -> None:
    store = await on_sqlite(tmp_path / "p.db", 0.1)
    session = await new_session(store)
    async with locked(tmp_path / "p.db"):
        with pytest.raises(StoreUnavailable):
            await store.steps.begin(step(session), 1)
        with pytest.raises(StoreUnavailable):
            await begin_session(store)
        await store.ping()
    assert await types(store, session) == ["user_message", "session:start"]
    await store.steps.begin(step(session), 1)
    await store.close()


async def test_writers_that_wait_for_their_turn_and_then_for_a_lock_wait_no_longer_than_one_alone(
    tmp_path: Path,
) -> None:
    store = await on_sqlite(tmp_path / "p.db", 0.3)
    session = await new_session(store)
    async with locked(tmp_path / "p.db"):
        begun = time.monotonic()
        tried = (store.steps.begin(step(session, number), 1) for number in range(1, 11))
        told = await asyncio.gather(*tried, return_exceptions=True)
        took = time.monotonic() - begun
    assert {type(one) for one in told} == {StoreUnavailable}
    assert took < 1.5, "ten times as long, if each began to count when its turn came"
    await store.close()


async def test_a_turn_that_does_not_come_in_time_is_told(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/p.db", busy_timeout_seconds=0.1)
    async with asyncio.timeout(5), database.write() as connection:
        with pytest.raises(StoreUnavailable):
            async with database.write():
                pytest.fail("there were two at once")
        await connection.execute(text("CREATE TABLE kept (x INTEGER)"))
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO kept VALUES (1)"))
    await database.close()


async def test_a_writer_that_is_cancelled_while_it_waits_leaves_nothing_and_locks_nobody_out(tmp_path: Path) -> None:
    store = await on_sqlite(tmp_path / "p.db", 10)
    session = await new_session(store)
    async with locked(tmp_path / "p.db") as holder:
        writing = asyncio.create_task(store.steps.begin(step(session), 1))
        await asyncio.wait([writing], timeout=0.2)
        writing.cancel()
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
        with pytest.raises(asyncio.CancelledError):
            await writing
    assert await types(store, session) == ["user_message", "session:start"]
    await asyncio.gather(*(begin_session(store) for _ in range(10)))
    await store.steps.begin(step(session), 1)
    await store.close()


async def test_cancelled_writers_leave_whole_transactions_or_nothing(tmp_path: Path) -> None:
    store = await on_sqlite(tmp_path / "p.db", 10)
    session = await new_session(store)
    for number in range(1, 30):
        await store.steps.begin(step(session, number), 1)
        writing = asyncio.create_task(store.steps.record_reply(step(session, number), 1, reply(f"{number}")))
        for _ in range(number):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        recorded = await store.steps.record_reply(step(session, number), 1, reply(f"{number}"))
        assert recorded.usage.total_tokens == 10
    told = await types(store, session)
    assert told.count("content") == told.count("step:complete") == 29
    assert (await store.sessions.get(session.id)).usage["totalTokens"] == 290
    await store.close()


async def test_a_file_that_is_no_database_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "p.db").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable):
        await on_sqlite(tmp_path / "p.db", 1)


async def test_a_full_disk_is_told_and_nothing_of_the_transaction_is_kept(tmp_path: Path) -> None:
    store = await on_sqlite(tmp_path / "p.db", 1)
    session = await new_session(store)
    await store.steps.begin(step(session), 1)
    async with store.database.write() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count = {pages + 5}"))
    with pytest.raises(StoreUnavailable):
        await store.steps.record_reply(step(session), 1, reply("x" * 1_000_000))
    assert (await types(store, session))[-1] == "step:start"
    assert await store.transcripts.turns(session.id) == []
    await store.steps.record_reply(step(session), 1, reply("short"))
    await store.close()


async def test_what_was_committed_is_there_for_another_connection(tmp_path: Path) -> None:
    store = await on_sqlite(tmp_path / "p.db", 1)
    session = await new_session(store)
    with closing(sqlite3.connect(tmp_path / "p.db")) as other:
        assert other.execute("SELECT id, last_offset FROM sessions").fetchall() == [(session.id, 2)]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()


async def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="memory"):
        await open_database("sqlite:///:memory:")


async def test_postgresql_that_is_away_is_told_and_used_again_when_it_is_back(postgres: PostgreSQL) -> None:
    name = await postgres.create()
    store = Store.over(await open_database(postgres.url(name)), InProcessBus())
    session = await new_session(store)
    await asyncio.gather(*(store.ping() for _ in range(5)))
    postgres.stop()
    try:
        for asked in (
            store.ping(),
            store.steps.begin(step(session), 1),
            store.facts.head(session.id),
            begin_session(store),
            open_database(postgres.url(name)),
        ):
            with pytest.raises(StoreUnavailable):
                await asked
    finally:
        postgres.start()
    await store.steps.begin(step(session), 1)
    await store.endings.close(session.id, Ending("timeout"))
    assert (await types(store, session))[-1] == "error"
    await store.close()
    await postgres.drop(name)


async def test_a_connection_that_the_server_ends_in_a_transaction_takes_it_along(postgres: PostgreSQL) -> None:
    name = await postgres.create()
    store = Store.over(await open_database(postgres.url(name)), InProcessBus())
    session = await new_session(store)

    async def interrupted() -> None:
        async with store.steps.ledgers.open(session.id) as ledger:
            ledger.changes["step"] = 7
            await postgres.cut_off(name)
            await ledger.has_fact("any")

    with pytest.raises(StoreUnavailable):
        await interrupted()
    assert (await store.sessions.get(session.id)).step == 0
    await store.close()
    await postgres.drop(name)


async def test_connections_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    for n in range(20):
        path = str(tmp_path / f"{n}.db")
        engine = sqlite_engine(path, 10)
        opened = await asyncio.gather(*(asyncio.to_thread(engine.connect) for _ in range(8)))
        for connection in opened:
            connection.close()


async def test_a_postgresql_database_that_does_not_exist_is_told(postgres: PostgreSQL) -> None:
    with pytest.raises(StoreUnavailable):
        await open_database(postgres.url("nowhere"))


async def test_connections_that_are_lost_in_silence_are_noticed_and_replaced(
    postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network can swallow what is sent and tell neither side."""
    for name in ("STATEMENT_SECONDS", "GREETING_SECONDS"):
        monkeypatch.setattr(f"store.postgres.{name}", 0.5)
    name = await postgres.lend()
    link = Link(postgres.socket, free_ports(usual=False)[0])
    await link.mend()
    url = f"postgresql+asyncpg://postgres@{link.address}/{name}"
    store = Store.over(await open_database(url), InProcessBus())
    session = await new_session(store)
    link.half_open()
    async with asyncio.timeout(5):
        await store.steps.begin(step(session), 1)
    assert (await types(store, session))[-1] == "step:start"
    link.stall()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    link.flow()
    async with asyncio.timeout(5):
        assert (await types(store, session))[-1] == "step:start"
    await store.close()
    await link.cut()
    await postgres.take_back(name)
