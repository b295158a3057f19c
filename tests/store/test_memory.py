"""Claims about memory: what is found by its words, the best first, on every database; notes; summaries."""

import asyncio

import pytest
from sqlalchemy import text

from session.wire import Ending
from session.words import query_words
from store import Store
from store.cursor import BadCursor
from store.ledger import NotFound
from store.memory import MOST_NOTE_BYTES, NoteFull
from tests.store.acting import Clock, new_session, reply, step
from tests.store.remembering import index, look, paths

FILLER = [(f"filler/{number}.md", f"Paragraph {number} on gardens, weather and tea.") for number in range(8)]


async def test_any_word_is_enough_and_rare_words_count_for_more(store: Store) -> None:
    await index(
        store,
        *FILLER,
        ("pool.md", "The connection pool keeps connections open."),
        ("close.md", "Connections are closed by dispose, which the weather does not touch."),
        ("other.md", "A connection to the gardens."),
    )
    assert (await paths(store, "how do I dispose of a connection"))[0] == "close.md"
    assert set(await paths(store, "connection")) == {"pool.md", "close.md", "other.md"}
    assert await paths(store, "submarine") == []


async def test_words_are_found_by_their_stems_and_as_beginnings_where_nothing_has_them(store: Store) -> None:
    await index(store, *FILLER, ("a.md", "Migrating the databases took hours."), ("b.md", "The configuration file."))
    assert await paths(store, "database migration") == ["a.md"]
    assert await paths(store, "config") == ["b.md"]
    assert await paths(store, "MIGRATES") == ["a.md"]
    assert await paths(store, "co") == []


async def test_headings_and_paths_count_for_more_than_text(store: Store) -> None:
    padding = "It goes on for a while about nothing in particular. " * 3
    await index(
        store,
        *FILLER,
        ("text.md", f"Backups are mentioned here. {padding}"),
        ("heading.md", f"# Backups\n\n{padding}"),
        ("backups.md", padding),
    )
    found = await paths(store, "backups")
    assert set(found) == {"text.md", "heading.md", "backups.md"}
    assert found[-1] == "text.md"


async def test_scores_are_between_0_and_1_fall_and_tell_how_much_of_the_query_is_there(store: Store) -> None:
    await index(store, *FILLER, ("a.md", "zebra quagga okapi"), ("b.md", "zebra"), ("c.md", "zebra quagga"))
    ranked = await store.memory.ranked(query_words("zebra quagga okapi"), 2)
    assert ranked.total == 3 and len(ranked.hits) == 2
    found = await look(store, "zebra quagga okapi")
    assert [chunk.path for chunk in found] == ["a.md", "c.md", "b.md"]
    assert 1 >= found[0].score > found[1].score > found[2].score > 0


@pytest.mark.parametrize(
    "query",
    ['"', "a OR", "NEAR(x", "-x ^y *", "text_words: x", "'; DROP TABLE", "a & | ! (b", ":*", "\\", "\x00x", "AND"],
)
async def test_no_query_is_a_syntax_error(store: Store, query: str) -> None:
    await index(store, ("a.md", "x y b AND drop table"))
    await look(store, query)


async def test_scripts_without_blanks_and_accents_are_found(store: Store) -> None:
    await index(store, *FILLER, ("zh.md", "数据库的连接池"), ("fr.md", "Le café est fermé."))
    assert await paths(store, "连接") == ["zh.md"]
    assert await paths(store, "cafe") == ["fr.md"]


async def test_a_word_that_most_passages_have_is_left_out_of_a_large_memory(store: Store) -> None:
    await index(store, *((f"{number}.md", f"common number{number}") for number in range(120)))
    ranked = await store.memory.ranked(["common", "number7"], 10)
    assert ranked.total == 1
    assert (await store.memory.ranked(["common"], 10)).total == 120


async def test_the_lines_of_a_file_are_read_as_they_were(store: Store) -> None:
    lines = [f"line {number} " + "x" * 80 for number in range(1, 100)]
    await index(store, ("long.md", "\n".join(lines)))
    excerpt = await store.memory.excerpt("long.md", 30, 25)
    assert (excerpt.start_line, excerpt.lines, excerpt.total) == (30, lines[29:54], 99)
    assert (await store.memory.excerpt("long.md", 98, 10)).lines == lines[97:]
    assert (await store.memory.excerpt("long.md", 200, 10)).lines == []
    with pytest.raises(NotFound):
        await store.memory.excerpt("none.md", 1, 1)


@pytest.mark.parametrize("kind", ["postgresql"])  # SQLite has no lock on which a reader waits
async def test_an_excerpt_never_says_that_a_file_which_is_taken_away_meanwhile_has_no_lines(store: Store) -> None:
    await index(store, ("going.md", "one\ntwo"))
    waiting = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid "
        "WHERE datname = current_database() AND NOT granted"
    )
    async with store.database.write() as connection:
        await connection.execute(text("LOCK TABLE memory_chunks IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(store.memory.excerpt("going.md", 1, 10))
        while not (await connection.execute(waiting)).scalar_one():
            await asyncio.sleep(0.01)
        await connection.execute(text("DELETE FROM memory_files"))
    with pytest.raises(NotFound):
        await reading


async def test_a_note_grows_and_every_line_of_it_is_found_at_once(store: Store, clock: Clock) -> None:
    session = await new_session(store)
    expected: list[str] = []
    for number in range(40):
        added = f"## Entry {number}\n\nThe code word of day {number} is marker{number}. " + "And so on. " * 10
        excerpt = await store.memory.append_note(session.conversation_id, added)
        expected += ([""] if expected else []) + added.split("\n")
        assert excerpt.lines == expected[excerpt.start_line - 1 :]
    note = await store.memory.excerpt(f"@conversations/{session.conversation_id}.md", 1, 1_000)
    assert note.lines == expected and note.total == len(expected)
    (found,) = [chunk for chunk in await look(store, "marker17") if "marker17" in chunk.text]
    assert "marker17" in expected[found.start_line + 1]
    (file,) = (await store.memory.list(None, 10))[0]
    assert (file.source, file.conversation_id, file.lines) == ("note", session.conversation_id, len(expected))
    assert file.size == len("\n".join(expected).encode())
    assert file.chunks == await _count(store, "memory_chunks")


async def test_notes_that_are_written_at_once_are_all_there(store: Store) -> None:
    session = await new_session(store)
    written = (store.memory.append_note(session.conversation_id, f"note {number}") for number in range(10))
    starts = sorted(excerpt.start_line for excerpt in await asyncio.gather(*written))
    assert starts == [1 + 2 * number for number in range(10)]
    note = await store.memory.excerpt(f"@conversations/{session.conversation_id}.md", 1, 100)
    assert sorted(line for line in note.lines if line) == sorted(f"note {number}" for number in range(10))


async def test_a_note_that_is_too_long_is_refused_and_stays_as_it_was(store: Store) -> None:
    session = await new_session(store)
    await store.memory.append_note(session.conversation_id, "kept")
    with pytest.raises(NoteFull):
        await store.memory.append_note(session.conversation_id, "x" * MOST_NOTE_BYTES)
    with pytest.raises(NotFound):
        await store.memory.append_note("conv_none", "x")
    assert (await store.memory.excerpt(f"@conversations/{session.conversation_id}.md", 1, 9)).lines == ["kept"]


async def test_the_summary_of_a_session_that_completed_is_found_under_its_goal(store: Store) -> None:
    done = await new_session(store, "Mend the turbine")
    await store.steps.begin(step(done), 1)
    await store.steps.record_reply(step(done), 1, reply("The bearings were worn out."))
    await store.endings.close(done.id, Ending("endTurn"))
    failed = await new_session(store, "Mend the turbine again")
    await store.endings.close(failed.id, Ending("timeout"))
    silent = await new_session(store, "Mend the turbine once more")
    await store.endings.close(silent.id, Ending("endTurn"))
    for query in ("turbine", "bearing"):
        assert await paths(store, query) == [f"@sessions/{done.id}.md"]
    assert (await look(store, "bearing"))[0].text == "# Mend the turbine\n\nThe bearings were worn out."


async def test_what_is_deleted_is_found_no_more(store: Store) -> None:
    session = await new_session(store)
    await store.memory.append_note(session.conversation_id, "ephemeral")
    await store.endings.close(session.id, Ending("maxSteps"))
    await store.conversations.delete(session.conversation_id)
    assert await paths(store, "ephemeral") == []
    assert await _count(store, "memory_words") == await _count(store, "memory_chunks") == 0


async def test_files_are_listed_with_those_indexed_last_first(store: Store, clock: Clock) -> None:
    for number in range(5):
        clock.now += 1
        await index(store, (f"{number}.md", "text"))
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page, cursor = await store.memory.list(cursor, 2)
        seen += [file.path for file in page]
    assert cursor is None and seen == ["4.md", "3.md", "2.md", "1.md", "0.md"]
    with pytest.raises(BadCursor):
        await store.memory.list("x", 2)


async def test_stats_count_what_there_is(store: Store) -> None:
    assert (await store.memory.stats()).files == 0
    session = await new_session(store)
    await store.memory.append_note(session.conversation_id, "a note")
    await index(store, ("a.md", "# One\n\ntext\n\n# Two\n\ntext"))
    stats = await store.memory.stats()
    assert (stats.files, stats.chunks, stats.sources) == (2, 3, {"file": 1, "note": 1})
    assert stats.last_sync_at == "2023-11-14T22:13:20.000Z"
    assert [chunk.path for chunk in await store.memory.latest(1, session.conversation_id)] == [
        f"@conversations/{session.conversation_id}.md"
    ]


async def _count(store: Store, table: str) -> int:
    async with store.database.read() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())  # noqa: S608
