"""The tools that workers offered: a session keeps the digest of the set it began with, so that a restart with other
tools does not change what its model was told (CONTRACT §4, `GET /api/chat/tools`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import TypeAdapter
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from session.tooling import Tool
from store.database import Database, first
from store.schema import toolsets

_TOOLS = TypeAdapter(list[Tool])
_SET = select(toolsets.c.tools).where(toolsets.c.digest == bindparam("digest"))
_SEEN = update(toolsets).where(toolsets.c.digest == bindparam("known")).values(seen_ms=bindparam("now"))
_LATEST = select(toolsets.c.tools).order_by(toolsets.c.seen_ms.desc()).limit(1)


def digest_of(tools: Sequence[Tool]) -> str:
    """The name of this set of tools, in this order."""
    return hashlib.sha256(_TOOLS.dump_json(list(tools))).hexdigest()


class Toolsets:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def publish(self, tools: Sequence[Tool]) -> str:
        """Store the set that a worker offers from now on, and return its digest. Done again it changes nothing but the
        time at which the set was last seen."""
        digest = digest_of(tools)
        now = self.database.clock()
        try:
            async with self.database.write() as connection:
                known = await connection.execute(_SEEN, {"known": digest, "now": now})
                if not known.rowcount:
                    text = _TOOLS.dump_json(list(tools), by_alias=True).decode()
                    await connection.execute(insert(toolsets).values(digest=digest, tools=text, seen_ms=now))
        except IntegrityError:
            pass  # another worker stored the same set at this moment
        return digest

    async def get(self, digest: str) -> list[Tool] | None:
        async with self.database.read() as connection:
            row = await first(connection, _SET, digest=digest)
        return None if row is None else _TOOLS.validate_json(row["tools"])

    async def latest(self) -> list[Tool] | None:
        """What the worker that published last offers; None when there was none yet."""
        async with self.database.read() as connection:
            row = await first(connection, _LATEST)
        return None if row is None else _TOOLS.validate_json(row["tools"])
