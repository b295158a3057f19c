"""`/api/audit` and a session's own: who had which tool do what, and who allowed it (CONTRACT §2), also as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from api.access import Caller
from api.bodies import StrictRoute
from api.description import ERRORS
from api.parts import Parts, PartsOf
from api.problems import invalid
from api.shapes import AuditList
from session.auditing import AuditEntry, AuditKind, AuditStatus
from store.audit import AuditFilters

router = APIRouter(prefix="/api", tags=["audit"], responses=ERRORS, route_class=StrictRoute)
LIMIT: Final = 20
_PAGE_OR_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page, or all entries as CSV (RFC 4180) with a header line",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}

Limit = Annotated[int | None, Query(ge=1, le=100, description=f"Entries of a page, {LIMIT} if left out")]
Format = Annotated[
    Literal["json", "csv"] | None,
    Query(alias="format", description="csv: all entries at once; `Accept: text/csv` asks for it too"),
]
Accept = Annotated[str, Header()]
Word = Annotated[str | None, Query(min_length=1, max_length=200)]


@router.get("/sessions/{session_id}/audit", response_model=AuditList, responses=_PAGE_OR_CSV)
async def audit_of_session(
    session_id: str,
    parts: PartsOf,
    caller: Caller,
    limit: Limit = None,
    cursor: str | None = None,
    form: Format = None,
    accept: Accept = "",
) -> AuditList | Response:
    """A session's calls, refusals, approvals, denials, expiries and cancels, oldest first; secrets are masked."""
    if _wants_csv(form, accept, limit, cursor):
        await parts.store.audit.check_session(session_id)
        return await _csv(parts, AuditFilters(session_id=session_id), f"audit-{session_id}.csv", oldest_first=True)
    entries, following = await parts.store.audit.of_session(session_id, cursor, limit or LIMIT)
    return AuditList(entries=entries, next_cursor=following)


@router.get("/audit", response_model=AuditList, responses=_PAGE_OR_CSV)
async def audit_of_all(
    parts: PartsOf,
    caller: Caller,
    tool: Word = None,
    status: AuditStatus | None = None,
    kind: AuditKind | None = None,
    since: Annotated[AwareDatetime | None, Query(description="from this time on")] = None,
    until: Annotated[AwareDatetime | None, Query(description="before this time")] = None,
    session_id: Annotated[str | None, Query(alias="sessionId", min_length=1, max_length=200)] = None,
    by: Word = None,
    limit: Limit = None,
    cursor: str | None = None,
    form: Format = None,
    accept: Accept = "",
) -> AuditList | Response:
    """The audit of all sessions, newest first. What several filters say must all be true."""
    if since is not None and until is not None and since >= until:
        raise invalid("until", "must be later than since")
    filters = AuditFilters(tool, status, kind, _unix_ms(since), _unix_ms(until), session_id, by)
    if _wants_csv(form, accept, limit, cursor):
        return await _csv(parts, filters, "audit.csv", oldest_first=False)
    entries, following = await parts.store.audit.list(filters, cursor, limit or LIMIT)
    return AuditList(entries=entries, next_cursor=following)


def _unix_ms(at: datetime | None) -> int | None:
    """The first millisecond that is not before it."""
    return None if at is None else math.ceil(at.timestamp() * 1000)


def _wants_csv(form: str | None, accept: str, limit: int | None, cursor: str | None) -> bool:
    if form is None:
        accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
        form = "csv" if "text/csv" in accepted and not accepted & {"application/json", "*/*"} else "json"
    if form == "csv":
        for name, given in (("limit", limit), ("cursor", cursor)):
            if given is not None:
                raise invalid(name, "CSV has all entries at once; leave it out")
    return form == "csv"


async def _csv(parts: Parts, filters: AuditFilters, name: str, *, oldest_first: bool) -> Response:
    """All entries, read in pages while they are sent. The first page is read before the answer begins, so that a store
    that is away is a 503; one that goes away later cuts the answer short in the middle of its chunks."""
    pages = parts.store.audit.pages(filters, oldest_first=oldest_first)
    head = _lines([list(_COLUMNS)]) + _lines([_cells(entry) for entry in await anext(pages)])

    async def lines() -> AsyncIterator[str]:
        async with aclosing(pages):
            yield head
            async for page in pages:
                yield _lines([_cells(entry) for entry in page])

    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8; header=present", headers=headers)


_COLUMNS: Final = tuple(field.alias or name for name, field in AuditEntry.model_fields.items())
_RUN_AS_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell begins with that spreadsheet programs run (OWASP, CSV injection)."""


def _cells(entry: AuditEntry) -> list[str]:
    return [_cell(value) for value in entry.model_dump(by_alias=True).values()]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_RUN_AS_FORMULAS) else text


def _lines(rows: list[list[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)  # its defaults are RFC 4180: CRLF, quotes doubled
    return written.getvalue()
