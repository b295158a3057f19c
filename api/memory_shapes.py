"""Bodies and answers of `/api/memory` (CONTRACT §5)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from session.model import NonEmptyText, Published, Text
from session.resources import MemoryChunk, MemoryFile, MemorySession
from session.start import ConversationId

_AS_PUBLISHED = ConfigDict(validate_by_name=False, validate_by_alias=True)
MAX_QUERY_CHARS = 10_000
MOST_RESULTS = 50
Query = Annotated[NonEmptyText, StringConstraints(max_length=MAX_QUERY_CHARS)]
Results = Annotated[int, Field(ge=1, le=MOST_RESULTS)]
MemorySessionId = Annotated[Text, StringConstraints(min_length=1, max_length=128)]


class NewMemorySession(Published):
    model_config = _AS_PUBLISHED
    name: Annotated[Text, StringConstraints(max_length=500)] | None = None
    conversation_id: ConversationId | None = None
    user_id: Annotated[Text, StringConstraints(min_length=1, max_length=255)] | None = None


class MemorySessionAnswer(Published):
    session: MemorySession


class MemorySessionList(Published):
    sessions: list[MemorySession]
    next_cursor: str | None


class SearchBody(Published):
    model_config = _AS_PUBLISHED
    query: Query
    max_results: Results = 6
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class SearchAnswer(Published):
    """`totalCandidates`: how many chunks had anything of the query. `method`: `hybrid` where an embedding endpoint took
    part."""

    query: str
    method: Literal["fullText", "hybrid"]
    total_candidates: int
    chunks: list[MemoryChunk]


class SyncBody(Published):
    """No fields."""

    model_config = _AS_PUBLISHED


class SkippedFile(Published):
    path: str
    reason: str


class SyncAnswer(Published):
    """What changed, in files. `skipped`: the first 100 of those that are not indexed, and why. `embedded`: chunks that
    got a vector, `unembedded`: that have none yet, where there is an embedding endpoint."""

    added: int
    updated: int
    removed: int
    unchanged: int
    skipped: list[SkippedFile]
    skipped_count: int
    embedded: int
    unembedded: int
    embedding_error: str | None
    duration_ms: int
    last_sync_at: str | None


class WarmBody(Published):
    model_config = _AS_PUBLISHED
    conversation_id: ConversationId | None = None
    memory_session_id: MemorySessionId | None = None
    query: Query | None = None
    max_results: Results = 6


class WarmAnswer(Published):
    """`warmed`: the chunks wait for the next session; `synced`: the files were brought up to date for this."""

    warmed: bool
    chunks: list[MemoryChunk]
    synced: bool
    last_sync_at: str | None


class MemoryFileList(Published):
    files: list[MemoryFile]
    next_cursor: str | None
