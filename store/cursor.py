"""Cursors: opaque marks in lists that are ordered by creation time, newest first."""

import base64
import binascii
import re
from typing import Any

from sqlalchemy import Select, Table, tuple_

_MARK = re.compile(r"(\d{1,15}):([\w-]{1,128})", re.ASCII)


class BadCursor(ValueError):
    """The cursor did not come from this API."""


def encode(created_ms: int, row_id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_ms}:{row_id}".encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[int, str]:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise BadCursor("the cursor is not one that this API gave out") from error
    found = _MARK.fullmatch(text)
    if found is None:
        raise BadCursor("the cursor is not one that this API gave out")
    return int(found[1]), found[2]


def newest_first(query: Select[Any], table: Table, cursor: str | None, limit: int) -> Select[Any]:
    """Order, start after the cursor, and take one row more than asked, so that the end is seen."""
    if cursor is not None:
        query = query.where(tuple_(table.c.created_ms, table.c.id) < tuple_(*decode(cursor)))
    return query.order_by(table.c.created_ms.desc(), table.c.id.desc()).limit(limit + 1)


def page(rows: list[Any], limit: int) -> tuple[list[Any], str | None]:
    """Split what `newest_first` fetched into the page and the next cursor."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode(last["created_ms"], last["id"])
