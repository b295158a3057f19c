"""What surrounds the tool calls of a worker: its tools, what they may do, and what lives on between calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from activities.catalog import Catalog
from activities.limiter import Limiter
from activities.memory import Embedder, Recall
from activities.presets import Presets
from activities.results import Validators
from activities.tools.jobs import Jobs
from activities.tools.spec import ToolError
from activities.workspaces import Workspaces
from session.context import ContextPolicy
from session.masking import Masker
from session.passages import Excerpt
from session.policy import ToolPolicy
from session.resources import MemoryChunk
from store import Store
from store.ledger import NotFound
from store.memory import MOST_NOTE_BYTES, NoteFull


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
    embedder: Embedder | None = None
    presets: Presets = field(default_factory=Presets)
    validators: Validators = field(default_factory=Validators)
    limiter: Limiter = field(default_factory=Limiter)
    context: ContextPolicy = field(default_factory=ContextPolicy)

    async def close(self) -> None:
        """End what lives on between calls."""
        await self.jobs.close()
        if self.embedder is not None:
            await self.embedder.close()


class SessionMemory:
    """What one session may remember: all that is indexed, and the note of its own conversation."""

    def __init__(self, store: Store, session: Mapping[str, Any], embedder: Embedder | None = None) -> None:
        self._store = store
        self._recall = Recall(store, embedder)
        self._conversation_id: str = session["conversation_id"]

    async def search(self, query: str, limit: int, min_score: float) -> tuple[list[MemoryChunk], int]:
        found = await self._recall.search(query, limit, min_score)
        return found.chunks, found.total

    async def excerpt(self, path: str, start_line: int, count: int) -> Excerpt:
        try:
            return await self._store.memory.excerpt(path, start_line, count)
        except NotFound as error:
            told = "memory_search shows the paths that there are"
            raise ToolError("NOT_FOUND", f"there is no file `{path[:200]}` in memory; {told}") from error

    async def note(self, content: str) -> Excerpt:
        try:
            return await self._store.memory.append_note(self._conversation_id, content)
        except NoteFull as error:
            told = f"this conversation's note may have at most {MOST_NOTE_BYTES:,} bytes; nothing was written"
            raise ToolError("TOO_LARGE", told) from error


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
