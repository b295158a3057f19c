"""The resources of the API, as they are published (CONTRACT §1). Times are ISO 8601 UTC strings."""

from typing import Any

from session.model import Published
from session.passages import Passage
from session.vocabulary import (
    ApprovalDecision,
    ApprovalStatus,
    CallStatus,
    Effort,
    ErrorCode,
    MemorySource,
    MemoryStatus,
    Phase,
    Role,
    SecurityLevel,
    SecurityMode,
    SessionStatus,
    StopReason,
)


class Conversation(Published):
    id: str
    title: str | None
    preset_id: str | None
    metadata: dict[str, Any]
    created_at: str
    updated_at: str


class ToolCall(Published):
    id: str
    name: str
    arguments: dict[str, Any]
    result: dict[str, Any] | None
    status: CallStatus
    duration_ms: int | None
    step: int


class Approval(Published):
    """A call that waits, or waited, for somebody's decision. `by` is the name of the key that decided."""

    id: str
    approval_id: str
    session_id: str
    conversation_id: str
    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    security_level: SecurityLevel
    status: ApprovalStatus
    decision: ApprovalDecision | None
    by: str | None
    expires_at: str
    created_at: str


class Message(Published):
    id: str
    conversation_id: str
    role: Role
    content: str
    model: str | None
    provider: str | None
    session_id: str | None
    tool_calls: list[ToolCall]
    usage: dict[str, int] | None
    cost: float | None
    created_at: str


class SessionError(Published):
    code: ErrorCode
    message: str


class SessionProgress(Published):
    """Where a running session stands; comes from the workflow's query, `attempt` from the store."""

    phase: Phase
    step: int
    attempt: int
    pending_tools: list[str]
    usage: dict[str, int]
    deadline: str


class Session(Published):
    id: str
    conversation_id: str
    status: SessionStatus
    stop_reason: StopReason | None
    goal: str
    model: str
    provider: str
    effort: Effort
    max_steps: int
    max_budget: int | None
    show_thinking: bool
    security_mode: SecurityMode
    step: int
    usage: dict[str, int]
    cost: float | None
    message_id: str | None
    summary: str | None
    result: Any = None
    """The final answer as JSON, where a `responseSchema` was given and it keeps to it; else `resultError` says why."""
    result_error: str | None = None
    error: SessionError | None
    deadline: str | None
    created_at: str
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    progress: SessionProgress | None = None


class MemoryChunk(Published):
    """A piece of a file of memory, `startLine` to `endLine` (the first is 1). `score`: 0 to 1."""

    id: str
    path: str
    start_line: int
    end_line: int
    text: str
    score: float


class MemoryRef(Published):
    """Where a passage stands that a session begins with."""

    path: str
    start_line: int
    end_line: int

    @classmethod
    def of(cls, passage: Passage) -> "MemoryRef":
        return cls(path=passage.path, start_line=passage.start_line, end_line=passage.end_line)


class MemoryFile(Published):
    """A file of memory as it is indexed. `source` says where it comes from; `size` is in bytes."""

    id: str
    path: str
    source: MemorySource
    conversation_id: str | None
    session_id: str | None
    size: int
    lines: int
    chunks: int
    indexed_at: str


class MemoryStats(Published):
    """How much there is in memory; `sources` and `sessions` count files and memory sessions by kind."""

    files: int
    chunks: int
    sources: dict[str, int]
    sessions: dict[str, int]
    embedding_model: str | None
    embedded_chunks: int
    last_sync_at: str | None


class MemorySession(Published):
    """Conversations that belong together, and what they came to: messages, tokens, cost in USD (null where no session
    of theirs had a known price). `conversationId`: the one it was made for; it goes with that one."""

    id: str
    name: str | None
    user_id: str | None
    conversation_id: str | None
    conversation_ids: list[str]
    status: MemoryStatus
    message_count: int
    total_tokens: int
    cost: float | None
    created_at: str
    archived_at: str | None
