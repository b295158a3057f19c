"""How a session ends: the facts of each ending, and the assistant message it leaves (CONTRACT §2, §3)."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from session.events import Artifact, Complete, Error, Event, MessageSaved, Summary
from session.model import storable
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
_SILENT: Final = "(The model ended its turn without a word.)"
PREVIEW_CHARS: Final = 2_000
PREVIEW_ITEMS: Final = 100


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
    """Build the ending of CONTRACT §3: `summary`, `complete`, `message_saved`, or `message_saved`, `error`.

    Never fails, whatever the model said: a session that cannot be closed would break G1.
    """
    reason = ending.reason
    said = storable(ending.message) or _DEFAULT_MESSAGE.get(reason, "")
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
        content = storable(done.last_text) or f"({said})"
        return Closing(STATUS_OF[reason], said, content, (saved, error), {"code": code, "message": said})
    summary = storable(str(done.completion.get("summary") or done.last_text or said)) or _SILENT
    facts = (
        Summary(
            summary=summary,
            artifacts=[kept for item in _items(done, "artifacts") if (kept := _artifact(item)) is not None],
            next_steps=[storable(str(step)) for step in _items(done, "nextSteps")],
        ),
        _complete(done, reason),
        saved,
    )
    content = summary if done.completion else storable(done.last_text) or summary
    return Closing(STATUS_OF[reason], summary, content, facts, None)


def _items(done: Done, name: str) -> list[Any]:
    """A list among `complete_task`'s arguments; a lone string is one item, anything else none."""
    value = done.completion.get(name)
    return value if isinstance(value, list) else [value] if value and isinstance(value, str) else []


def _artifact(item: Any) -> dict[str, Any] | None:
    """What has the shape of an artifact (`type`, `id`, perhaps `description`, `url`); None for the rest."""
    try:
        artifact = Artifact.model_validate(item)
    except ValidationError:
        return None
    return artifact.model_dump(by_alias=True, exclude_none=True)


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
        return [preview(item) for item in value[:PREVIEW_ITEMS]]
    if isinstance(value, dict):
        return {key: preview(item) for key, item in islice(value.items(), PREVIEW_ITEMS)}
    return value
