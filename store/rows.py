"""From rows to the published resources (session.resources), in one place for every query."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from session.fallbacks import model_of
from session.resources import Conversation, Message, Session, SessionError, ToolCall
from session.usage import Usage

NEVER_MS: Final = 253_402_300_799_000
"""`deadline_ms` of a session whose turn has not come: its limit has not begun."""


def iso(unix_ms: int) -> str:
    """ISO 8601 UTC with milliseconds, e.g. `2026-01-02T03:04:05.678Z` (CONTRACT, head)."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else iso(unix_ms)


def usage_of(row: Mapping[str, Any]) -> Usage:
    return Usage(row["input_tokens"], row["output_tokens"], row["cache_read_tokens"], row["cache_write_tokens"])


def session_of(row: Mapping[str, Any]) -> Session:
    error = json.loads(row["error"]) if row["error"] else None
    return Session(
        id=row["id"],
        conversation_id=row["conversation_id"],
        status=row["status"],
        stop_reason=row["stop_reason"],
        goal=row["goal"],
        model=model_of(row),
        provider=row["provider"],
        effort=row["effort"],
        max_steps=row["max_steps"],
        max_budget=row["max_budget"],
        show_thinking=row["show_thinking"],
        security_mode=row["security_mode"],
        step=row["step"],
        usage=usage_of(row).published(),
        cost=row["cost"],
        message_id=row["message_id"],
        summary=row["summary"],
        result=json.loads(row["result"]) if row["result"] else None,
        result_error=row["result_error"],
        error=SessionError(**error) if error else None,
        deadline=None if row["deadline_ms"] == NEVER_MS else iso(row["deadline_ms"]),
        created_at=iso(row["created_ms"]),
        queued_at=_iso(row["queued_ms"]),
        started_at=_iso(row["started_ms"]),
        ended_at=_iso(row["ended_ms"]),
    )


def conversation_of(row: Mapping[str, Any]) -> Conversation:
    return Conversation(
        id=row["id"],
        title=row["title"],
        preset_id=row["preset_id"],
        metadata=json.loads(row["metadata"]),
        created_at=iso(row["created_ms"]),
        updated_at=iso(row["updated_ms"]),
    )


def message_of(row: Mapping[str, Any], tool_calls: list[ToolCall]) -> Message:
    return Message(
        id=row["id"],
        conversation_id=row["conversation_id"],
        role=row["role"],
        content=row["content"],
        model=row["model"],
        provider=row["provider"],
        session_id=row["session_id"],
        tool_calls=tool_calls,
        usage=json.loads(row["usage"]) if row["usage"] else None,
        cost=row["cost"],
        created_at=iso(row["created_ms"]),
    )


def tool_call_of(row: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        id=row["call_id"],
        name=row["name"],
        arguments=json.loads(row["arguments"] if row["shown"] is None else row["shown"]),
        result=json.loads(row["result"]) if row["result"] else None,
        status="pending" if row["status"] == "started" else row["status"],
        duration_ms=row["duration_ms"],
        step=row["step"],
    )
