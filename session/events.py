"""The events of a session's stream: facts (durable) and deltas (live), each one class (CONTRACT §3).

`EVENTS` is the whole published vocabulary; the store, the stream, the API documentation and the clients' tests read it
from here. An event knows its type and its data, nothing about offsets, storage or frames: `frame()` gives the JSON text
that is stored and sent as it is.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, TypeAdapter
from pydantic_core import to_json

from session.model import Published
from session.resources import MemoryRef
from session.vocabulary import (
    CancelMode,
    Effort,
    ErrorCode,
    ResultStatus,
    SecurityLevel,
    SecurityMode,
    StopReason,
)


class Event(Published):
    """One event: `type` plus its data fields."""

    optional: ClassVar[frozenset[str]] = frozenset()
    """Fields (by their wire name) that are left out when they are None; every other field is always sent."""

    type: str

    def data(self) -> dict[str, Any]:
        """The event's `data` object, camelCase."""
        fields = self.model_dump(mode="json", by_alias=True, exclude={"type"})
        return {name: value for name, value in fields.items() if value is not None or name not in self.optional}

    def frame(self, timestamp_ms: int) -> str:
        """The event's `data:` line: `{"type","data","timestamp"}`, timestamp in Unix ms.

        One line for every reader: many split text at U+0085, U+2028 and U+2029 too, which JSON may hold as they are.
        """
        text = to_json({"type": self.type, "data": self.data(), "timestamp": timestamp_ms}).decode()
        if text.isascii():
            return text
        return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# -- facts ---------------------------------------------------------------------------------------------------------


class UserMessage(Event):
    type: Literal["user_message"] = "user_message"
    id: str
    content: str
    compaction_applied: bool = False
    message_count: int


class SessionStart(Event):
    """`memory`: what was warmed for this session; absent when nothing was."""

    optional = frozenset({"memory"})
    type: Literal["session:start"] = "session:start"
    session_id: str
    conversation_id: str
    goal: str
    model: str
    provider: str
    effort: Effort
    max_steps: int
    max_budget: int | None
    security_mode: SecurityMode
    deadline: str
    memory: list[MemoryRef] | None = None


class StepStart(Event):
    type: Literal["step:start"] = "step:start"
    step: int
    attempt: int
    max_steps: int
    used_budget: int
    max_budget: int | None


class ThinkingStart(Event):
    type: Literal["thinking:start"] = "thinking:start"
    step: int


class ThinkingEnd(Event):
    type: Literal["thinking:end"] = "thinking:end"
    step: int
    text: str


class Content(Event):
    """The step's text. `partial` marks a reply that cancel or timeout cut off; it is absent otherwise."""

    optional = frozenset({"partial"})
    type: Literal["content"] = "content"
    step: int
    text: str
    partial: bool | None = None


class ToolCalled(Event):
    type: Literal["tool:call"] = "tool:call"
    tool_call_id: str
    id: str
    name: str
    arguments: dict[str, Any]
    args: dict[str, Any]
    step: int
    security_level: SecurityLevel


class ApprovalRequired(Event):
    type: Literal["approval:required"] = "approval:required"
    approval_id: str
    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    security_level: SecurityLevel
    expires_at: str


class ApprovalResolved(Event):
    type: Literal["approval:resolved"] = "approval:resolved"
    approval_id: str
    decision: str
    by: str


class ResultError(Published):
    code: str
    message: str


class Result(Published):
    """What a tool call came to: `content` for the model and, where it failed, `error`."""

    success: bool
    content: str | None = None
    error: ResultError | None = None
    truncated: bool | None = None

    def published(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ToolResulted(Event):
    type: Literal["tool:result"] = "tool:result"
    tool_call_id: str
    id: str
    name: str
    status: ResultStatus
    result: dict[str, Any]
    duration_ms: int
    step: int


class StepComplete(Event):
    type: Literal["step:complete"] = "step:complete"
    step: int
    usage: dict[str, int]
    used_budget: int
    budget_remaining: int | None
    steps_remaining: int
    tool_calls_in_step: int
    duration_ms: int


class StepRetry(Event):
    type: Literal["step:retry"] = "step:retry"
    step: int
    attempt: int
    reason: str
    retry_after_ms: int


class BudgetWarning(Event):
    """`percentUsed`: of the budget that is nearer to its end. `cost` and `maxCostUsd` are there where money is limited,
    `maxBudget` is null where tokens are not."""

    optional = frozenset({"cost", "maxCostUsd"})
    type: Literal["budget:warning"] = "budget:warning"
    percent_used: int
    used_budget: int
    max_budget: int | None
    cost: float | None = None
    max_cost_usd: float | None = None


class ModelRef(Published):
    model: str


class Fallback(Event):
    type: Literal["fallback"] = "fallback"
    from_: ModelRef = Field(alias="from")
    to: ModelRef
    reason: str


class SessionCancelling(Event):
    type: Literal["session:cancelling"] = "session:cancelling"
    mode: CancelMode
    reason: str | None
    by: str


class Artifact(Published):
    """Something a session made (CONTRACT §3, `summary`)."""

    type: str
    id: str
    description: str | None = None
    url: str | None = None


class Summary(Event):
    type: Literal["summary"] = "summary"
    summary: str
    artifacts: list[dict[str, Any]]
    next_steps: list[str]


class Complete(Event):
    type: Literal["complete"] = "complete"
    session_id: str
    model: str
    provider: str
    total_steps: int
    total_tokens: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    stop_reason: StopReason
    duration_ms: int
    tool_calls: list[dict[str, Any]]


class MessageSaved(Event):
    type: Literal["message_saved"] = "message_saved"
    id: str


class Error(Event):
    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    session_id: str
    stop_reason: StopReason
    retryable: bool


Fact = (
    UserMessage
    | SessionStart
    | StepStart
    | ThinkingStart
    | ThinkingEnd
    | Content
    | ToolCalled
    | ApprovalRequired
    | ApprovalResolved
    | ToolResulted
    | StepComplete
    | StepRetry
    | BudgetWarning
    | Fallback
    | SessionCancelling
    | Summary
    | Complete
    | MessageSaved
    | Error
)

# -- deltas --------------------------------------------------------------------------------------------------------


class ThinkingUpdate(Event):
    type: Literal["thinking:update"] = "thinking:update"
    step: int
    delta: str


class ContentDelta(Event):
    type: Literal["content:delta"] = "content:delta"
    step: int
    delta: str


class ToolProgress(Event):
    type: Literal["tool:progress"] = "tool:progress"
    tool_call_id: str
    stream: Literal["stdout", "stderr"]
    delta: str


Delta = ThinkingUpdate | ContentDelta | ToolProgress

EVENTS: dict[str, type[Event]] = {cls.model_fields["type"].default: cls for cls in get_args(Fact | Delta)}
AnyEvent: TypeAdapter[Fact | Delta] = TypeAdapter(Annotated[Fact | Delta, Field(discriminator="type")])
