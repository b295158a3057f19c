"""`/api/memory`: memory sessions, and what is remembered: search, sync, files (CONTRACT §5)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from activities.memory import SyncRunning, Wanted
from activities.memory import sync as bring_up_to_date
from api.access import Caller
from api.beginning import IdempotencyKey, starter
from api.bodies import StrictRoute
from api.description import ERRORS
from api.memory_shapes import (
    MemoryFileList,
    MemorySessionAnswer,
    MemorySessionList,
    NewMemorySession,
    SearchAnswer,
    SearchBody,
    SkippedFile,
    SyncAnswer,
    SyncBody,
    WarmAnswer,
    WarmBody,
)
from api.parts import PartsOf
from session.resources import MemoryStats
from session.vocabulary import MemoryStatus

router = APIRouter(prefix="/api/memory", tags=["memory"], responses=ERRORS, route_class=StrictRoute)
SKIPPED_SHOWN = 100
WARM_WAITS_SECONDS = 5.0
"""For another sync; passages are picked from what is indexed then."""


@router.post("/sessions", status_code=status.HTTP_201_CREATED)
async def create(
    request: Request,
    response: Response,
    parts: PartsOf,
    caller: Caller,
    key: IdempotencyKey,
    body: NewMemorySession | None = None,
) -> MemorySessionAnswer:
    """Make a memory session, perhaps for a conversation."""
    asked = body or NewMemorySession()
    who = starter(request, caller, key, asked.model_dump(mode="json", exclude_unset=True))
    made = await parts.store.memory_sessions.create(who, asked.name, asked.conversation_id, asked.user_id)
    response.headers["Location"] = f"/api/memory/sessions/{made.id}"
    return MemorySessionAnswer(session=made)


@router.get("/sessions")
async def list_sessions(
    parts: PartsOf,
    caller: Caller,
    status: MemoryStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> MemorySessionList:
    """Memory sessions, newest first."""
    sessions, following = await parts.store.memory_sessions.list(status, cursor, limit)
    return MemorySessionList(sessions=sessions, next_cursor=following)


@router.get("/sessions/{memory_session_id}")
async def read(memory_session_id: str, parts: PartsOf, caller: Caller) -> MemorySessionAnswer:
    """A memory session with its conversations, and the messages, tokens and cost that these came to."""
    return MemorySessionAnswer(session=await parts.store.memory_sessions.get(memory_session_id))


@router.post("/sessions/{memory_session_id}/archive")
async def archive(memory_session_id: str, parts: PartsOf, caller: Caller) -> MemorySessionAnswer:
    """Let nothing new belong to a memory session; asking again changes nothing."""
    return MemorySessionAnswer(session=await parts.store.memory_sessions.archive(memory_session_id))


@router.post("/search")
async def search(body: SearchBody, parts: PartsOf, caller: Caller) -> SearchAnswer:
    """The passages that fit a query best. Any of its words may be there; rare ones count for more."""
    found = await parts.recall.search(body.query, body.max_results, body.min_score or 0.0)
    return SearchAnswer(query=found.query, method=found.method, total_candidates=found.total, chunks=found.chunks)


@router.post("/sync")
async def sync(parts: PartsOf, caller: Caller, body: SyncBody | None = None) -> SyncAnswer:
    """Bring the index up to date with the memory folder; only files whose content changed are written."""
    synced = await bring_up_to_date(parts.store, parts.settings.memory_folder, parts.recall.embedder)
    return SyncAnswer(
        added=synced.added,
        updated=synced.updated,
        removed=synced.removed,
        unchanged=synced.unchanged,
        skipped=[SkippedFile(path=one.path, reason=one.reason) for one in synced.skipped[:SKIPPED_SHOWN]],
        skipped_count=len(synced.skipped),
        embedded=synced.embedded,
        unembedded=synced.unembedded,
        embedding_error=synced.embedding_error,
        duration_ms=synced.duration_ms,
        last_sync_at=await parts.store.memory.last_sync_at(),
    )


@router.post("/warm")
async def warm(parts: PartsOf, caller: Caller, body: WarmBody | None = None) -> WarmAnswer:
    """Bring the files up to date, and pick the passages that the next session of the conversation (or of the memory
    session) starts with, in the place of those picked before. `session:start` says which they were."""
    asked = body or WarmBody()
    synced = True
    try:
        await bring_up_to_date(
            parts.store,
            parts.settings.memory_folder,
            parts.recall.embedder,
            wait_seconds=WARM_WAITS_SECONDS,
            embed_seconds=WARM_WAITS_SECONDS,
        )
    except SyncRunning:
        synced = False
    wanted = Wanted(asked.conversation_id, asked.memory_session_id, asked.query)
    chunks = await parts.recall.warm(wanted, asked.max_results)
    return WarmAnswer(
        warmed=bool(chunks) and (asked.conversation_id is not None or asked.memory_session_id is not None),
        chunks=chunks,
        synced=synced,
        last_sync_at=await parts.store.memory.last_sync_at(),
    )


@router.get("/stats")
async def stats(parts: PartsOf, caller: Caller) -> MemoryStats:
    """How much there is."""
    embedder = parts.recall.embedder
    return await parts.store.memory.stats(None if embedder is None else embedder.model)


@router.get("/files")
async def files(
    parts: PartsOf,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> MemoryFileList:
    """The files that are indexed, those indexed last first; sessions' summaries and conversations' notes among them."""
    found, following = await parts.store.memory.list(cursor, limit)
    return MemoryFileList(files=found, next_cursor=following)
