"""How a session ends: the facts of each ending, and the assistant message it leaves (CONTRACT §2, §3)."""

from dataclasses import dataclass, field
from typing import Any, Final

from session.events import Complete, Error, Event, MessageSaved, Summary
from session.usage import Usage
from session.vocabulary import ERROR_OF, STATUS_OF, StopReason, TerminalStatus
from session.wire import Ending

_DEFAULT_MESSAGE: Final[dict[StopReason, str]] = {
    "maxSteps": "The session used all of its steps before the task was done.",
    "budgetExceeded": "The session used up its budget before the task was done.",
    "loopDetected": "The session was ended because the model made the same call three times running.",
    "timeout": "The session reached its time limit; what was done until then is kept.",
    "cancelled": "The session was cancelled; what was done until then is kept.",
    "providerError": "The model's provider could not answer.",
    "internalError": "The session ended because of an internal failure.",
}
PREVIEW_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Done:
    """What a session did, as far as it came: the input of its closing."""

    session_id: str
    model: str
    provider: str
    steps: int
    usage: Usage
    cost: float | None
    duration_ms: int
    last_text: str = ""
    completion: dict[str, Any] = field(default_factory=dict)
    """Arguments of the successful `complete_task`, where there was one."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Closing:
    """The facts that end the stream, in order, and what the row and the message say."""

    status: TerminalStatus
    summary: str
    content: str
    facts: tuple[Event, ...]
    error: dict[str, str] | None


def close(done: Done, ending: Ending, message_id: str) -> Closing:
    """Build the ending of CONTRACT §3: `summary`, `complete`, `message_saved`, or `message_saved`, `error`."""
    reason = ending.reason
    said = ending.message or _DEFAULT_MESSAGE.get(reason, "")
    saved = MessageSaved(id=message_id)
    code = ERROR_OF.get(reason)
    if code is not None:
        error = Error(
            code=code,
            message=said,
            session_id=done.session_id,
            stop_reason=reason,
            retryable=ending.retryable or reason in ("timeout", "cancelled"),
        )
        content = done.last_text or f"({said})"
        return Closing(STATUS_OF[reason], said, content, (saved, error), {"code": code, "message": said})
    summary = str(done.completion.get("summary") or done.last_text or said)
    facts = (
        Summary(
            summary=summary,
            artifacts=list(done.completion.get("artifacts") or []),
            next_steps=[str(step) for step in done.completion.get("nextSteps") or []],
        ),
        _complete(done, reason),
        saved,
    )
    content = (
        summary
        if done.completion
        else done.last_text or summary or "(The model ended its turn without a word.)"
    )
    return Closing(STATUS_OF[reason], summary, content, facts, None)


def _complete(done: Done, reason: StopReason) -> Complete:
    return Complete(
        session_id=done.session_id,
        model=done.model,
        provider=done.provider,
        total_steps=done.steps,
        total_tokens=done.usage.total_tokens,
        input_tokens=done.usage.input_tokens,
        output_tokens=done.usage.output_tokens,
        cost=done.cost,
        stop_reason=reason,
        duration_ms=done.duration_ms,
        tool_calls=[preview(call) for call in done.tool_calls],
    )


def preview(value: Any) -> Any:
    """The same JSON value with long strings cut, so that a terminal fact stays small after 200 steps of 100 KB."""
    if isinstance(value, str):
        return value if len(value) <= PREVIEW_CHARS else value[:PREVIEW_CHARS] + "…"
    if isinstance(value, list):
        return [preview(item) for item in value[:100]]
    if isinstance(value, dict):
        return {key: preview(item) for key, item in value.items()}
    return value
