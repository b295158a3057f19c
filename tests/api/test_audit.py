"""The audit from outside: what every session did, page by page and as CSV (CONTRACT §2)."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pytest

from session.auditing import AuditEntry, NewEntry
from store.audit import EXPORT_ROWS, append
from tests.support.asking import Json, cancel, follow, get, names_field, problem, start
from tests.support.stack import Stack
from tests.support.turns import calls, completes, script, slowly

SECRET = "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
READ = ("read_file", {"path": "missing.txt"})
WRITE = ("write_file", {"path": "a.txt", "content": f"token {SECRET}"})
COLUMNS = [field.alias for field in AuditEntry.model_fields.values()]


async def audit_of(http: httpx.AsyncClient, session_id: str, limit: int = 100) -> list[Json]:
    """All entries of a session, read page by page."""
    entries: list[Json] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await get(http, f"/api/sessions/{session_id}/audit", limit=limit, **cursor)
        assert set(page) == {"entries", "nextCursor"} and len(page["entries"]) <= limit
        entries += page["entries"]
        if page["nextCursor"] is None:
            return entries
        cursor = {"cursor": page["nextCursor"]}


async def rows_of(http: httpx.AsyncClient, path: str, **params: Any) -> list[list[str]]:
    answer = await http.get(path, params={"format": "csv", **params})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"].startswith('attachment; filename="audit')
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


async def written(stack: Stack, *entries: NewEntry) -> str:
    """A session that is over, with these entries besides its own."""
    session = await start(stack.http, script(completes("Done.")))
    await follow(stack.http, session["id"])
    async with stack.store.sessions.ledgers.open(session["id"]) as ledger:
        await append(ledger, *entries)
    return str(session["id"])


async def test_every_call_of_a_session_is_told_oldest_first_and_without_its_secrets(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(READ), calls(WRITE), completes("Done.")))
    await follow(http, running["id"])
    entries = await audit_of(http, running["id"], limit=2)
    assert [(one["kind"], one["tool"], one["status"], one["step"]) for one in entries] == [
        ("call", "read_file", "error", 1),
        ("call", "write_file", "success", 2),
        ("call", "complete_task", "success", 3),
    ]
    for one in entries:
        assert set(one) == set(COLUMNS)
        assert (one["sessionId"], one["conversationId"]) == (running["id"], running["conversationId"])
        assert one["by"] == "local" and one["toolCallId"] and one["durationMs"] >= 0 and one["at"].endswith("Z")
    assert entries[1]["arguments"] == {"path": "a.txt", "content": "token [secret:github]"}
    assert (entries[1]["effect"], entries[1]["securityLevel"]) == ("sideEffect", "moderate")


async def test_a_cancel_is_told_with_who_asked_for_it(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()))
    assert (await cancel(http, running["id"], reason="enough")).status_code == 202
    await follow(http, running["id"])
    (entry,) = await audit_of(http, running["id"])
    assert (entry["kind"], entry["status"], entry["by"], entry["tool"]) == ("cancel", "cancelled", "local", None)
    assert "enough" in entry["preview"]


async def test_refused_calls_are_told(http: httpx.AsyncClient) -> None:
    running = await start(http, script(calls(WRITE), completes("Done.")), securityMode="sandbox")
    await follow(http, running["id"])
    refusal = (await audit_of(http, running["id"]))[0]
    assert (refusal["kind"], refusal["tool"], refusal["status"]) == ("refusal", "write_file", "refused")
    assert refusal["arguments"]["content"] == "token [secret:github]"


async def test_the_audit_of_all_is_newest_first_and_filtered(stack: Stack, http: httpx.AsyncClient) -> None:
    one = await written(stack, NewEntry(kind="call", tool="mine", status="error"))
    two = await written(stack, NewEntry(kind="denial", tool="mine", by="alice"))

    async def told(**params: Any) -> list[tuple[str, str]]:
        page = await get(http, "/api/audit", tool="mine", **params)
        return [(entry["kind"], entry["sessionId"]) for entry in page["entries"]]

    assert await told() == [("denial", two), ("call", one)]
    assert await told(status="error") == [("call", one)]
    assert await told(kind="denial", by="alice") == [("denial", two)]
    assert await told(sessionId=one) == [("call", one)]
    at = (await get(http, "/api/audit", tool="mine", sessionId=two))["entries"][0]["at"]
    assert await told(since=at) == [("denial", two)]
    assert await told(until=at) == [("call", one)]
    first = await get(http, "/api/audit", tool="mine", limit=1)
    rest = await get(http, "/api/audit", tool="mine", limit=1, cursor=first["nextCursor"])
    assert [first["entries"][0]["sessionId"], rest["entries"][0]["sessionId"]] == [two, one]
    assert rest["nextCursor"] is None


async def test_csv_has_every_entry_with_a_header_line(stack: Stack, http: httpx.AsyncClient) -> None:
    many = [NewEntry(kind="call", tool=f"tool{number}") for number in range(EXPORT_ROWS + 5)]
    session = await written(stack, *many)
    header, *rows = await rows_of(http, f"/api/sessions/{session}/audit")
    assert header == COLUMNS
    tools = [row[header.index("tool")] for row in rows]
    assert tools == ["complete_task", *(entry.tool for entry in many)]
    _, *newest = await rows_of(http, "/api/audit", sessionId=session)
    assert [row[header.index("tool")] for row in newest] == tools[::-1]
    plain = await http.get(f"/api/sessions/{session}/audit", headers={"Accept": "text/csv"})
    assert plain.text.count("\r\n") == len(rows) + 1
    assert [header, *rows] == list(csv.reader(io.StringIO(plain.text, newline="")))


async def test_csv_keeps_what_is_hard_to_quote_and_runs_no_formulas(stack: Stack, http: httpx.AsyncClient) -> None:
    hard = ['say "hi", you\r\nthere', "=HYPERLINK(1)", "+1", "-2", "@SUM(A1)", "\tx", "\ry", "\nz", "é→ 'x'", ""]
    session = await written(stack, *(NewEntry(kind="call", preview=text, arguments='{"a": "b,c"}') for text in hard))
    header, _, *rows = await rows_of(http, f"/api/sessions/{session}/audit")
    shown = [row[header.index("preview")] for row in rows]
    assert shown == [hard[0], *(f"'{text}" for text in hard[1:8]), *hard[8:]]
    assert {row[header.index("arguments")] for row in rows} == {'{"a": "b,c"}'}
    assert {row[header.index("step")] for row in rows} == {""}


async def test_a_filter_that_lets_nothing_through_is_an_empty_list(http: httpx.AsyncClient) -> None:
    assert await get(http, "/api/audit", tool="nobody") == {"entries": [], "nextCursor": None}
    assert await rows_of(http, "/api/audit", tool="nobody") == [COLUMNS]


@pytest.mark.parametrize("form", ["json", "csv"])
async def test_an_unknown_session_is_not_found(http: httpx.AsyncClient, form: str) -> None:
    problem(await http.get("/api/sessions/sess_none/audit", params={"format": form}), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"status": "maybe"}, "status"),
        ({"kind": "calls"}, "kind"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"tool": ""}, "tool"),
        ({"tool": "t" * 201}, "tool"),
        ({"session": "x"}, "session"),
        ({"format": "xml"}, "format"),
        ({"format": "csv", "limit": 5}, "limit"),
        ({"format": "csv", "cursor": "abc"}, "cursor"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(
    http: httpx.AsyncClient, params: dict[str, Any], field: str
) -> None:
    names_field(await http.get("/api/audit", params=params), field)


async def test_a_foreign_cursor_is_refused(stack: Stack, http: httpx.AsyncClient) -> None:
    session = await written(stack)
    problem(await http.get("/api/audit", params={"cursor": "nonsense"}), 400, "BAD_CURSOR")
    problem(await http.get(f"/api/sessions/{session}/audit", params={"cursor": "nonsense"}), 400, "BAD_CURSOR")


async def test_both_calls_are_described_as_json_and_csv(http: httpx.AsyncClient) -> None:
    paths = (await get(http, "/openapi.json"))["paths"]
    for path in ("/api/audit", "/api/sessions/{session_id}/audit"):
        content = paths[path]["get"]["responses"]["200"]["content"]
        assert set(content) == {"application/json", "text/csv"}
        assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/AuditList"}
