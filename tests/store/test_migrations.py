"""Claims about migrations: applied at start, by any number of processes at once, and equal to the tables in code."""

import asyncio
import importlib
import sys
from functools import partial
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from store import Store, migrate_database, open_database
from store.bus import InProcessBus
from store.migrate import MIGRATIONS, REVISIONS
from store.schema import metadata
from tests.store.acting import new_session
from tests.store.remembering import look
from tests.store.test_homes import home_of

ROOT = Path(__file__).parents[2]
OPEN = """
import asyncio, sys
from store import open_database

async def main() -> None:
    sys.stdin.readline()
    database = await open_database(sys.argv[1])
    await database.close()

print("ready", flush=True)
asyncio.run(main())
"""


async def test_an_empty_database_gets_the_tables_and_an_open_one_keeps_its_rows(empty_url: str) -> None:
    for _ in range(2):
        database = await open_database(empty_url)
        async with database.read() as connection:
            assert set(metadata.tables) < set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
        await database.close()


async def test_the_migrated_schema_is_the_one_in_code(empty_url: str) -> None:
    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        """All but the search index, which is each database's own."""
        return kind != "table" or not (name or "").startswith("memory_words")

    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "target_metadata": metadata, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts={**options, "include_name": is_ours})
        return list(compare_metadata(context, metadata))

    database = await open_database(empty_url)
    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_processes_that_start_at_once_on_a_new_database_all_succeed(empty_url: str) -> None:
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OPEN,
            empty_url,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    ended = await asyncio.gather(*(process.communicate(b"go\n") for process in started))
    assert [(process.returncode, said[1]) for process, said in zip(started, ended, strict=True)] == [(0, b"")] * 4


async def test_a_migration_says_from_which_revision_to_which(empty_url: str) -> None:
    first, second = await migrate_database(empty_url), await migrate_database(empty_url)
    assert first.before is None
    assert first.after is not None
    assert second == (first.after, first.after)


def test_the_revisions_of_this_code_are_known_without_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert list(REVISIONS) == known[::-1]


async def test_code_that_is_older_than_the_schema_works_on_and_leaves_it(empty_url: str) -> None:
    """A process of the release before is started again during a deploy, or after it was taken back."""
    await migrate_database(empty_url)
    database = await open_database(empty_url)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    assert await migrate_database(empty_url) == ("9999", "9999")
    opened = Store.over(await open_database(empty_url), InProcessBus())
    assert (await new_session(opened)).status == "created"
    await opened.close()


async def test_openings_in_one_process_at_once_all_succeed(empty_url: str) -> None:
    databases = await asyncio.gather(*(open_database(empty_url) for _ in range(4)))
    for database in databases:
        await database.close()


async def test_summaries_of_before_there_was_a_memory_are_found(empty_url: str) -> None:
    opened = Store.over(await open_database(empty_url), InProcessBus())
    session = await new_session(opened, "Mend the turbine")
    async with opened.database.write() as connection:
        ended = "UPDATE sessions SET status = 'completed', summary = :told, ended_ms = 5"
        await connection.execute(text(ended), {"told": "Worn\nbearings."})
        await connection.run_sync(partial(_again, "0006_memory"))
    (found,) = await look(opened, "bearing turbine")
    assert (found.path, found.start_line, found.end_line) == (f"@sessions/{session.id}.md", 1, 2)
    assert (await opened.memory.excerpt(found.path, 2, 5)).lines == ["bearings."]
    await opened.close()


async def test_homes_kept_under_whole_names_are_found_by_the_folder_of_the_root(empty_url: str) -> None:
    opened = Store.over(await open_database(empty_url), InProcessBus())
    before = {
        "shop/web": "west",
        "shop/api": "east",
        "shop/api/tests": "east",
        "./shop//docs": "west",
        "shop/a": "east",
        "even/b": "west",
        "even/a": "east",
        "known": "south",
        "known/inner": "east",
        "known/other": "east",
        "conv_1": "north",
    }
    async with opened.database.write() as connection:
        for name, home in before.items():
            row = {"name": name, "home": home}
            await connection.execute(text("INSERT INTO workspaces (name, home) VALUES (:name, :home)"), row)
        for _ in range(2):
            await connection.run_sync(partial(_again, "0008_tops"))
        after = {row.name: row.home for row in await connection.execute(text("SELECT name, home FROM workspaces"))}
    assert after == {**before, "shop": "east", "even": "east"}
    assert await home_of(opened, await new_session(opened, workspace="shop/web"), "another") == "east"
    await opened.close()


def _again(migration: str, connection: Connection) -> None:
    """A migration, taken back and done again."""
    module = importlib.import_module(f"store.migrations.versions.{migration}")
    with Operations.context(MigrationContext.configure(connection)):
        module.downgrade()
        module.upgrade()
