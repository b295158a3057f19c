"""A model's reply on its way into the store, and the facts that tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from session.events import Content, Event, ResultError, ThinkingEnd, ToolCalled
from session.prompt import SystemPrompt
from session.usage import Usage
from session.vocabulary import SecurityLevel
from session.wire import CallRef
from store.results import Answer


@dataclass(frozen=True, slots=True)
class NewCall:
    """A tool call as the model asked for it. `shown`: its arguments as they may be shown, where that is not as they
    are; `refusal`: why it must not run."""

    ref: CallRef
    arguments: dict[str, Any]
    security_level: SecurityLevel
    shown: dict[str, Any] | None = None
    refusal: ResultError | None = None

    @property
    def arguments_shown(self) -> dict[str, Any]:
        return self.arguments if self.shown is None else self.shown


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply on its way into the store: its blocks as received, and what is told of it. `prompt`: the system
    prompt that it was made with; `answer`: what it is as the session's result, where it calls nothing."""

    model: str
    blocks: list[dict[str, Any]]
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    stop_reason: str | None = None
    request_id: str | None = None
    thinking: str = ""
    text: str = ""
    calls: Sequence[NewCall] = ()
    prompt: SystemPrompt | None = None
    answer: Answer | None = None


def reply_facts(reply: Reply, step: int, *, shown: bool) -> list[tuple[str, Event]]:
    told: list[tuple[str, Event]] = []
    if reply.thinking and shown:
        told.append(("thinking/end", ThinkingEnd(step=step, text=reply.thinking)))
    if reply.text:
        told.append(("content", Content(step=step, text=reply.text)))
    for call in reply.calls:
        called = ToolCalled(
            tool_call_id=call.ref.id,
            id=call.ref.id,
            name=call.ref.name,
            arguments=call.arguments_shown,
            args=call.arguments_shown,
            step=step,
            security_level=call.security_level,
        )
        told.append((f"tool/{call.ref.id}", called))
    return told
