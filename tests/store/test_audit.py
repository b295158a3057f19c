"""Claims about the audit: written with what it tells of, never changed, read in order while it grows."""

import json
from typing import Any

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import IntegrityError

from session.auditing import ARGUMENTS_CHARS, PREVIEW_CHARS, AuditEntry, NewEntry, bounded
from store import Store, StoreUnavailable
from store.audit import EXPORT_ROWS, AuditFilters, append, entry_of_call, query
from store.cursor import BadCursor, encode
from store.ledger import NotFound
from store.schema import audit
from store.starting import Caller
from tests.store.acting import Clock, begin_session, new_call, new_session, reply, step


@pytest.fixture(autouse=True)
async def no_entries_of_other_tests(store: Store) -> None:
    """They outlive their conversations, and a database is used by several tests."""
    async with store.database.write() as connection:
        await connection.execute(delete(audit))


async def write(store: Store, session_id: str, *entries: NewEntry) -> None:
    async with store.sessions.ledgers.open(session_id) as ledger:
        await append(ledger, *entries)


async def write_and_fail(store: Store, session_id: str) -> None:
    async with store.sessions.ledgers.open(session_id) as ledger:
        await append(ledger, NewEntry(kind="call", tool="exec"))
        raise NotFound("the transaction fails after the entry")


def tools(entries: list[AuditEntry]) -> list[str | None]:
    return [entry.tool for entry in entries]


async def all_of(store: Store, filters: AuditFilters, limit: int = 2) -> list[AuditEntry]:
    found, cursor = await store.audit.list(filters, None, limit)
    while cursor is not None:
        more, cursor = await store.audit.list(filters, cursor, limit)
        found += more
    return found


async def test_an_entry_tells_everything_it_was_given(store: Store) -> None:
    session = (await begin_session(store, caller=Caller("alice"))).session
    written = NewEntry(
        kind="call",
        step=3,
        tool_call_id="toolu_1",
        tool="exec",
        arguments='{"command": "ls"}',
        effect="sideEffect",
        security_level="dangerous",
        attempt=2,
        status="error",
        duration_ms=12,
        preview="No such file",
    )
    await write(store, session.id, written, NewEntry(kind="cancel", by="bob"))
    call, cancel = (await store.audit.of_session(session.id, None, 10))[0]
    told = call.model_dump(by_alias=True)
    assert told.pop("id").startswith("aud_")
    assert told == {
        "at": "2023-11-14T22:13:20.000Z",
        "kind": "call",
        "by": "alice",
        "sessionId": session.id,
        "conversationId": session.conversation_id,
        "step": 3,
        "toolCallId": "toolu_1",
        "tool": "exec",
        "arguments": {"command": "ls"},
        "effect": "sideEffect",
        "securityLevel": "dangerous",
        "attempt": 2,
        "status": "error",
        "durationMs": 12,
        "preview": "No such file",
    }
    assert (cancel.by, cancel.status, cancel.tool, cancel.arguments) == ("bob", "cancelled", None, None)


async def test_an_entry_about_a_recorded_call_shows_its_arguments_as_they_may_be_shown(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    await store.steps.record_reply(at, 1, reply("", new_call("toolu_1", "sideEffect", command="ls")))
    async with store.sessions.ledgers.open(session.id) as ledger:
        row = (await ledger.connection.execute(text("SELECT * FROM tool_calls"))).mappings().one()
        await append(ledger, entry_of_call({**row}, status="success", duration_ms=5))
        await append(ledger, entry_of_call({**row, "shown": '{"command": "[secret]"}'}, "refusal", preview="no"))
    call, refusal = (await store.audit.of_session(session.id, None, 10))[0]
    assert (call.tool, call.step, call.tool_call_id, call.effect) == ("exec", 1, "toolu_1", "sideEffect")
    assert (call.arguments, call.status, call.duration_ms) == ({"command": "ls"}, "success", 5)
    assert (refusal.arguments, refusal.status, refusal.by) == ({"command": "[secret]"}, "refused", "local")


async def test_what_fails_leaves_no_entry(store: Store) -> None:
    session = await new_session(store)
    with pytest.raises(NotFound):
        await write_and_fail(store, session.id)
    assert await store.audit.of_session(session.id, None, 10) == ([], None)


async def test_nothing_can_be_rewritten(store: Store) -> None:
    session = await new_session(store)
    await write(store, session.id, NewEntry(kind="call", tool="exec", by="alice"))
    with pytest.raises((StoreUnavailable, IntegrityError)) as refused:
        async with store.database.write() as connection:
            await connection.execute(text("UPDATE audit SET \"by\" = 'mallory'"))
    assert "append-only" in str(refused.value) + str(refused.value.__cause__)
    assert [entry.by for entry in await all_of(store, AuditFilters())] == ["alice"]


async def test_entries_outlive_their_conversation(store: Store) -> None:
    session = await new_session(store)
    await write(store, session.id, NewEntry(kind="call", tool="exec"))
    async with store.database.write() as connection:
        await connection.execute(text("DELETE FROM conversations"))
    assert tools((await store.audit.of_session(session.id, None, 10))[0]) == ["exec"]


async def test_a_session_without_entries_has_an_empty_list_and_an_unknown_one_is_not_found(store: Store) -> None:
    session = await new_session(store)
    assert await store.audit.of_session(session.id, None, 10) == ([], None)
    with pytest.raises(NotFound):
        await store.audit.of_session("sess_unknown", None, 10)


async def test_entries_of_one_moment_keep_the_order_they_were_written_in(store: Store) -> None:
    session = await new_session(store)
    names = [f"tool{number}" for number in range(20)]
    for name in names[:10]:
        await write(store, session.id, NewEntry(kind="call", tool=name))
    await write(store, session.id, *(NewEntry(kind="call", tool=name) for name in names[10:]))
    assert tools((await store.audit.of_session(session.id, None, 100))[0]) == names
    assert tools(await all_of(store, AuditFilters(), 3)) == names[::-1]


async def test_a_clock_that_goes_back_puts_no_entry_before_one_that_was_read(store: Store, clock: Clock) -> None:
    session = await new_session(store)
    await write(store, session.id, *(NewEntry(kind="call", tool=name) for name in ("a", "b", "c")))
    first, cursor = await store.audit.of_session(session.id, None, 2)
    clock.now -= 60_000
    await write(store, session.id, NewEntry(kind="call", tool="d"))
    rest, end = await store.audit.of_session(session.id, cursor, 10)
    assert (tools(first), tools(rest), end) == (["a", "b"], ["c", "d"], None)


async def test_pages_of_the_newest_stay_the_same_while_entries_are_added(store: Store, clock: Clock) -> None:
    session = await new_session(store)
    for name in "abcde":
        clock.now += 5
        await write(store, session.id, NewEntry(kind="call", tool=name))
    seen, cursor = await store.audit.list(AuditFilters(), None, 2)
    while cursor is not None:
        clock.now += 5
        await write(store, session.id, NewEntry(kind="call", tool="new"))
        more, cursor = await store.audit.list(AuditFilters(), cursor, 2)
        seen += more
    assert tools(seen) == ["e", "d", "c", "b", "a"]


async def test_filters_are_all_kept(store: Store, clock: Clock) -> None:
    one, two = await new_session(store), await new_session(store)
    begun = clock.now
    await write(store, one.id, NewEntry(kind="call", tool="exec", status="error", by="alice"))
    clock.now += 1000
    await write(store, one.id, NewEntry(kind="refusal", tool="exec", by="bob"))
    clock.now += 1000
    await write(store, two.id, NewEntry(kind="call", tool="grep", by="alice"))

    async def found(**filters: Any) -> list[str]:
        return [f"{entry.kind} {entry.tool}" for entry in await all_of(store, AuditFilters(**filters))]

    assert await found() == ["call grep", "refusal exec", "call exec"]
    assert await found(tool="exec") == ["refusal exec", "call exec"]
    assert await found(status="error") == ["call exec"]
    assert await found(kind="call") == ["call grep", "call exec"]
    assert await found(since_ms=begun + 1000) == ["call grep", "refusal exec"]
    assert await found(until_ms=begun + 1000) == ["call exec"]
    assert await found(session_id=two.id) == ["call grep"]
    assert await found(by="alice", tool="exec") == ["call exec"]


async def test_a_cursor_that_was_not_given_out_is_refused(store: Store) -> None:
    with pytest.raises(BadCursor):
        await store.audit.list(AuditFilters(), "nonsense", 10)


async def test_an_export_tells_every_entry_once_in_pages(store: Store, clock: Clock) -> None:
    session = await new_session(store)
    names = [f"tool{number}" for number in range(EXPORT_ROWS + 2)]
    await write(store, session.id, *(NewEntry(kind="call", tool=name) for name in names))
    pages = [tools(page) async for page in store.audit.pages(AuditFilters(session_id=session.id), oldest_first=True)]
    assert [len(page) for page in pages] == [EXPORT_ROWS, 2]
    assert [name for page in pages for name in page] == names
    assert [page async for page in store.audit.pages(AuditFilters(tool="none"))] == [[]]


def test_arguments_are_kept_whole_or_shortened_to_a_bound() -> None:
    small = json.dumps({"path": "a.txt", "content": "x" * 10_000})
    assert bounded(small) == small
    long = json.loads(bounded(json.dumps({"path": "a.txt", "content": "x" * 1_000_000})) or "")
    assert long["path"] == "a.txt" and long["content"].startswith("xxx") and "999000 more" in long["content"]
    wide = bounded(json.dumps({f"key{number}": number for number in range(100_000)})) or ""
    assert len(wide) < ARGUMENTS_CHARS and json.loads(wide).startswith('{"key0": 0')
    deep = bounded("[" * 50_000 + "]" * 50_000) or ""
    assert len(deep) < ARGUMENTS_CHARS and json.loads(deep).startswith("[[[")


async def test_a_long_preview_is_shortened(store: Store) -> None:
    session = await new_session(store)
    await write(store, session.id, NewEntry(kind="call", tool="t" * 300, preview="y" * 10_000))
    (entry,) = (await store.audit.of_session(session.id, None, 10))[0]
    assert entry.preview is not None and len(entry.preview) < PREVIEW_CHARS + 50 and "9500 more" in entry.preview


@pytest.mark.parametrize(
    ("filters", "oldest_first", "index"),
    [
        (AuditFilters(), False, "audit_by_time"),
        (AuditFilters(tool="exec", since_ms=5), False, "audit_by_time"),
        (AuditFilters(session_id="sess_00001"), True, "audit_of_session"),
    ],
)
async def test_pages_are_read_from_an_index_in_its_order(
    store: Store, filters: AuditFilters, oldest_first: bool, index: str
) -> None:
    if not store.database.is_sqlite:
        await _fill(store, 20_000)
    for cursor in (None, encode(1_700_000_010_000, "aud_10000")):
        plan = await _plan(store, filters, cursor, oldest_first)
        assert index in plan, plan
        assert "TEMP B-TREE" not in plan and "Sort" not in plan and "Seq Scan" not in plan, plan


async def _plan(store: Store, filters: AuditFilters, cursor: str | None, oldest_first: bool) -> str:
    asked = query(filters, cursor, 20, oldest_first=oldest_first)
    engine = store.database.engine
    sql = str(asked.compile(engine, compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    async with store.database.read() as connection:
        rows = (await connection.execute(text(explain + sql.replace(":", "\\:")))).all()
    return "\n".join(str(row[-1]) for row in rows)


async def _fill(store: Store, rows: int) -> None:
    """PostgreSQL reads small tables whole, whatever indexes they have."""
    filled = (
        'INSERT INTO audit (id, at_ms, kind, "by", tenant, session_id, conversation_id, tool, status)'
        " SELECT 'aud_' || n, 1700000000000 + n, 'call', 'a', '', 'sess_' || lpad((n % 100)::text, 5, '0'), 'c',"
        " 'exec', 'success' FROM generate_series(1, :rows) n"
    )
    async with store.database.write() as connection:
        await connection.execute(text(filled), {"rows": rows})
        await connection.execute(text("ANALYZE audit"))
