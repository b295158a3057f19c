"""What PostgreSQL and Valkey say of themselves: counts that only grow, so that two looks tell what came in between."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import urlsplit

import asyncpg

_DATABASE: Final = """
SELECT xact_commit AS transactions, tup_inserted AS inserted, tup_updated AS updated, tup_deleted AS deleted
FROM pg_stat_database WHERE datname = current_database()
"""
_KEPT: Final = """
SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint AS kept FROM pg_stat_user_tables
"""
_INFO: Final = re.compile(rb"^(\w+):(\d+(?:\.\d+)?)\r$", re.MULTILINE)
_CALLS: Final = re.compile(rb"^cmdstat_([\w|]+):calls=(\d+)", re.MULTILINE)
_OUR_OWN: Final = {b"info"}


async def store_counts(url: str) -> dict[str, float]:
    """Of the database at `url`: transactions, rows written, bytes of the write-ahead log, bytes kept.

    Raises asyncpg's errors and OSError.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        row = await connection.fetchrow(_DATABASE)
        log = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        kept = await connection.fetchval(_KEPT)
    finally:
        await connection.close()
    return {
        "store transactions": float(row["transactions"]),
        "store rows inserted": float(row["inserted"]),
        "store rows updated": float(row["updated"]),
        "store rows deleted": float(row["deleted"]),
        "store log bytes": float(log),
        "store bytes kept": float(kept),
    }


async def valkey_counts(url: str) -> dict[str, float]:
    """Of the server at `url` (`redis://…`): commands, bytes in and out. No bus, no counts. Raises OSError."""
    if not url:
        return {}
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        told = await _info(reader, writer, b"all")
    finally:
        writer.close()
    numbers = {name: float(value) for name, value in _INFO.findall(told)}
    commands = sum(int(calls) for name, calls in _CALLS.findall(told) if name not in _OUR_OWN)
    return {
        "bus commands": float(commands),
        "bus bytes in": numbers[b"total_net_input_bytes"],
        "bus bytes out": numbers[b"total_net_output_bytes"],
    }


async def _info(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, section: bytes) -> bytes:
    writer.write(b"*2\r\n$4\r\nINFO\r\n$%d\r\n%b\r\n" % (len(section), section))
    size = int((await reader.readline())[1:])
    return await reader.readexactly(size)
