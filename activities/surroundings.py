"""What surrounds the tool calls of a worker: its tools, what they may do, and what lives on between calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from activities.catalog import Catalog
from activities.tools.jobs import Jobs
from activities.workspaces import Workspaces
from session.masking import Masker
from session.policy import ToolPolicy
from store import Store


@dataclass(frozen=True)
class Surroundings:
    """One per worker, made by its composition root. `home` names the workspace root, the same for all workers that
    have it; empty where there is nothing to tell apart."""

    workspaces: Workspaces
    catalog: Catalog
    policy: ToolPolicy = field(default_factory=ToolPolicy)
    masker: Masker = field(default_factory=Masker)
    jobs: Jobs = field(default_factory=Jobs)
    home: str = ""


class SessionShelf:
    """The `Shelf` of one session: its long results, and the notes of its conversation."""

    def __init__(self, store: Store, session: Mapping[str, Any]) -> None:
        self._store = store
        self._session_id: str = session["id"]
        self._conversation_id: str = session["conversation_id"]

    async def output(self, handle: str, offset: int, length: int) -> tuple[str, int] | None:
        return await self._store.shelves.output(self._session_id, handle, offset, length)

    async def note(self, name: str) -> str | None:
        return await self._store.shelves.note(self._conversation_id, name)

    async def put_note(self, name: str, text: str) -> None:
        await self._store.shelves.put_note(self._conversation_id, name, text)
