"""The audit's words: what is written of a tool call, of a decision about one, and of a cancel (CONTRACT §2).

Arguments and previews are masked before they come here (session.masking), and bounded here: an audit outlives the
conversation it tells of, so it keeps what shows what was done, not the content that was done it with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from session.model import Published
from session.vocabulary import Effect, SecurityLevel

AuditKind = Literal["call", "refusal", "approval", "denial", "expiry", "cancel"]
AuditStatus = Literal["success", "error", "refused", "approved", "denied", "expired", "cancelled"]

STATUS_OF_KIND: Final[dict[AuditKind, AuditStatus]] = {
    "call": "success",
    "refusal": "refused",
    "approval": "approved",
    "denial": "denied",
    "expiry": "expired",
    "cancel": "cancelled",
}
"""The status of an entry that is told no other; a call's is its result's, `success` or `error`."""

PREVIEW_CHARS: Final = 500
ARGUMENTS_CHARS: Final = 16_384
_STRING_CHARS: Final = 1_000


class AuditEntry(Published):
    """One entry as it is published. `by`: the name of the key that started the session, decided or cancelled.

    What an entry does not have is null: a cancel names no tool, a refusal took no time.
    """

    id: str
    at: str
    kind: AuditKind
    by: str
    session_id: str
    conversation_id: str
    step: int | None
    tool_call_id: str | None
    tool: str | None
    arguments: Any
    effect: Effect | None
    security_level: SecurityLevel | None
    attempt: int | None
    status: AuditStatus
    duration_ms: int | None
    preview: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An entry to be written. `arguments` is JSON text, masked. `by` left empty is the one who started the session;
    `status` left out is the kind's own (`STATUS_OF_KIND`)."""

    kind: AuditKind
    by: str = ""
    step: int | None = None
    tool_call_id: str | None = None
    tool: str | None = None
    arguments: str | None = None
    effect: Effect | None = None
    security_level: SecurityLevel | None = None
    attempt: int | None = None
    status: AuditStatus | None = None
    duration_ms: int | None = None
    preview: str | None = None


def shortened(text: str | None, most: int = PREVIEW_CHARS) -> str | None:
    """At most `most` characters of a text, and how many more there were."""
    if text is None or len(text) <= most:
        return text
    return f"{text[:most]}… [{len(text) - most} more characters]"


def bounded(arguments: str | None) -> str | None:
    """Arguments (JSON text) as they are kept: whole up to 16 KiB; beyond that long strings are shortened, and what is
    still too long is kept as one string with its beginning."""
    if arguments is None or len(arguments) <= ARGUMENTS_CHARS:
        return arguments
    try:
        smaller = json.dumps(_shorter(json.loads(arguments)), ensure_ascii=False)
    except (ValueError, RecursionError):
        smaller = arguments
    if len(smaller) <= ARGUMENTS_CHARS:
        return smaller
    return json.dumps(shortened(arguments, ARGUMENTS_CHARS // 2), ensure_ascii=False)


def _shorter(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value, _STRING_CHARS)
    if isinstance(value, list):
        return [_shorter(item) for item in value]
    if isinstance(value, dict):
        return {key: _shorter(item) for key, item in value.items()}
    return value
