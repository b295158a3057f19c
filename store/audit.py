"""The audit: rows that are only ever added, in the transaction that does what they tell of.

An entry is there if and only if what it tells of is: `append` writes inside the caller's ledger, so a crash leaves both
or neither. A trigger refuses UPDATE (migration 0002). Entries outlive their conversation. Within a session their times
only grow (a second entry of the same millisecond is told one later), so oldest-first reading misses nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam, func, insert, select, tuple_

from session.auditing import STATUS_OF_KIND, AuditEntry, AuditKind, AuditStatus, NewEntry, bounded, shortened
from session.ids import RANDOM_BYTES, make_id
from store.cursor import decode, encode
from store.database import Database, every, first
from store.ledger import Ledger, NotFound
from store.rows import iso
from store.schema import audit, sessions

Entries = list[AuditEntry]

EXPORT_ROWS: Final = 500
"""How many rows an export holds at a time."""

_AFTER_THE_LAST = (
    select(audit.c.at_ms + 1)
    .where(audit.c.session_id == bindparam("session_id"), audit.c.at_ms >= bindparam("now_ms"))
    .order_by(audit.c.at_ms.desc())
    .limit(1)
    .scalar_subquery()
)
_GIVEN = [column.name for column in audit.c if column.name != "at_ms"]
_APPEND = insert(audit).values(
    {name: bindparam(name) for name in _GIVEN} | {"at_ms": func.coalesce(_AFTER_THE_LAST, bindparam("now_ms"))}
)
_SESSION = select(sessions.c.id).where(sessions.c.id == bindparam("id"))


async def append(ledger: Ledger, *entries: NewEntry) -> None:
    """Write entries, in this order, inside the ledger's transaction."""
    if entries:
        await ledger.connection.execute(_APPEND, [_row(ledger, entry) for entry in entries])


def entry_of_call(call: Mapping[str, Any], kind: AuditKind = "call", **told: Any) -> NewEntry:
    """An entry about a row of `tool_calls`: its arguments as they may be shown. `told`: further fields of NewEntry."""
    fields = {
        "step": call["step"],
        "tool_call_id": call["call_id"],
        "tool": call["name"],
        "arguments": call["arguments"] if call["shown"] is None else call["shown"],
        "effect": call["effect"],
        "security_level": call["security_level"],
        "attempt": call["attempt"],
    }
    return NewEntry(kind=kind, **(fields | told))


def _row(ledger: Ledger, entry: NewEntry) -> dict[str, Any]:
    tenant = ledger.row["tenant"]
    return {
        "id": make_id("aud", ledger.now_ms, os.urandom(RANDOM_BYTES)),
        "now_ms": ledger.now_ms,
        "kind": entry.kind,
        "by": entry.by or tenant or "local",
        "tenant": tenant,
        "session_id": ledger.id,
        "conversation_id": ledger.row["conversation_id"],
        "step": entry.step,
        "call_id": entry.tool_call_id,
        "tool": entry.tool[:200] if entry.tool else entry.tool,
        "arguments": bounded(entry.arguments),
        "effect": entry.effect,
        "security_level": entry.security_level,
        "attempt": entry.attempt,
        "status": entry.status or STATUS_OF_KIND[entry.kind],
        "duration_ms": entry.duration_ms,
        "preview": shortened(entry.preview),
    }


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """`GET /api/audit`; times in Unix ms, `since_ms` included, `until_ms` not."""

    tool: str | None = None
    status: AuditStatus | None = None
    kind: AuditKind | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    session_id: str | None = None
    by: str | None = None


class Audit:
    """Reads the audit. Nothing here writes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def of_session(self, session_id: str, cursor: str | None, limit: int) -> tuple[Entries, str | None]:
        """A page of one session's entries, oldest first, and the next cursor. Raises NotFound, BadCursor.

        The entries of a session whose conversation was deleted are still told.
        """
        entries, following = await self._page(AuditFilters(session_id=session_id), cursor, limit, oldest_first=True)
        if not entries:
            await self.check_session(session_id)
        return entries, following

    async def check_session(self, session_id: str) -> None:
        """Raises NotFound for a session that neither exists nor was ever audited."""
        audited = select(audit.c.id).where(audit.c.session_id == session_id).limit(1)
        async with self.database.read() as connection:
            if await first(connection, _SESSION, id=session_id) is None and await first(connection, audited) is None:
                raise NotFound(f"no session {session_id}")

    async def list(self, filters: AuditFilters, cursor: str | None, limit: int) -> tuple[Entries, str | None]:
        """A page of what the filters let through, newest first, and the next cursor. Raises BadCursor."""
        return await self._page(filters, cursor, limit)

    async def pages(self, filters: AuditFilters, *, oldest_first: bool = False) -> AsyncGenerator[Entries, None]:
        """All that the filters let through, in pages for an export; no transaction stays open between them."""
        cursor: str | None = None
        while True:
            entries, cursor = await self._page(filters, cursor, EXPORT_ROWS, oldest_first=oldest_first)
            yield entries
            if cursor is None:
                return

    async def _page(
        self, filters: AuditFilters, cursor: str | None, limit: int, *, oldest_first: bool = False
    ) -> tuple[Entries, str | None]:
        async with self.database.read() as connection:
            rows = await every(connection, query(filters, cursor, limit, oldest_first=oldest_first))
        shown = rows[:limit]
        last = shown[-1] if len(rows) > limit else None
        return [_entry(row) for row in shown], encode(last["at_ms"], last["id"]) if last else None


def query(filters: AuditFilters, cursor: str | None, limit: int, *, oldest_first: bool = False) -> Select[Any]:
    """One row more than asked, so that the end is seen; after the cursor, in the order of (at_ms, id)."""
    columns = audit.c
    wanted = {
        columns.tool: filters.tool,
        columns.status: filters.status,
        columns.kind: filters.kind,
        columns.session_id: filters.session_id,
        columns.by: filters.by,
    }
    found = select(audit).where(*(column == value for column, value in wanted.items() if value is not None))
    if filters.since_ms is not None:
        found = found.where(columns.at_ms >= filters.since_ms)
    if filters.until_ms is not None:
        found = found.where(columns.at_ms < filters.until_ms)
    if cursor is not None:
        here, mark = tuple_(columns.at_ms, columns.id), tuple_(*decode(cursor))
        found = found.where(here > mark if oldest_first else here < mark)
    order = (columns.at_ms, columns.id) if oldest_first else (columns.at_ms.desc(), columns.id.desc())
    return found.order_by(*order).limit(limit + 1)


def _entry(row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=iso(row["at_ms"]),
        kind=row["kind"],
        by=row["by"],
        session_id=row["session_id"],
        conversation_id=row["conversation_id"],
        step=row["step"],
        tool_call_id=row["call_id"],
        tool=row["tool"],
        arguments=json.loads(row["arguments"]) if row["arguments"] else None,
        effect=row["effect"],
        security_level=row["security_level"],
        attempt=row["attempt"],
        status=row["status"],
        duration_ms=row["duration_ms"],
        preview=row["preview"],
    )
