"""Where a session's workspace is: in the workspace root in which it was first used.

Machines may have workspace roots of their own, and what tools did in a workspace stays where it is. The first step of
its first session puts down the root of the worker that makes it, in the transaction that begins the step, and later
sessions with the same workspace follow it.

A workspace within another one is the same files, so whatever stands under one folder of the root has one home, under
that folder's name. Only the root itself (`.`), asked for as a workspace, is no more than what its own home holds.
"""

from __future__ import annotations

import json
import posixpath

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from store.database import StoreConnection, first
from store.ledger import Ledger
from store.schema import workspaces

_HOME = select(workspaces.c.home).where(workspaces.c.name == bindparam("name"))
_FORGET = delete(workspaces).where(workspaces.c.name == bindparam("called"))
_CLAIM = {
    "sqlite": sqlite.insert(workspaces).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(workspaces).on_conflict_do_nothing(),
}


async def settle(ledger: Ledger, home: str) -> None:
    """Give a session the home of its workspace; `home` is the root of the worker that asks, which a new workspace
    gets."""
    asked: str | None = json.loads(ledger.row["settings"])["workspace"]
    name = _top_of(asked) if asked else str(ledger.row["conversation_id"])
    known = await first(ledger.connection, _HOME, name=name)
    if known is None:
        claim = _CLAIM[ledger.connection.dialect.name]
        await ledger.connection.execute(claim, {"name": name, "home": home})
        known = await first(ledger.connection, _HOME, name=name)
    assert known is not None
    ledger.changes["home"] = known["home"]


def _top_of(workspace: str) -> str:
    """The folder of the root that holds the workspace, however it is spelled."""
    return posixpath.normpath(workspace).partition("/")[0]


async def forget(connection: StoreConnection, conversation_id: str) -> None:
    """A removed conversation's own workspace goes with it."""
    await connection.execute(_FORGET, {"called": conversation_id})
