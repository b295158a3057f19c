"""Envelopes of answers and small bodies; the resources inside are session.resources (CONTRACT §1-§4)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from session.auditing import AuditEntry
from session.model import Metadata, Published, Text, is_json
from session.resources import Approval, Conversation, Message, Session, ToolCall
from session.start import ConversationId, StartFields, StartSession
from session.vocabulary import MAX_CONTENT_CHARS, ApprovalDecision, CancelMode, Effect, SecurityLevel, SecurityMode

ToolArguments = Annotated[dict[str, Any], AfterValidator(is_json)]
Title = Annotated[Text, StringConstraints(max_length=500)]


_AS_PUBLISHED = ConfigDict(validate_by_name=False, validate_by_alias=True)
"""For bodies: a field is known by its published name alone; Python's spelling of it is an unknown field."""


class AgenticBody(StartFields):
    """Body of `POST …/messages/agentic`."""

    model_config = _AS_PUBLISHED


class StartBody(StartSession):
    """Body of `POST /api/sessions`."""

    model_config = _AS_PUBLISHED


class SessionAnswer(Published):
    session: Session


class RetryAnswer(Published):
    session: Session
    original_session_id: str


class SessionList(Published):
    sessions: list[Session]
    next_cursor: str | None


class CancelBody(Published):
    model_config = _AS_PUBLISHED
    reason: Annotated[Text, StringConstraints(max_length=1000)] | None = None
    mode: CancelMode = "now"


class FollowUpBody(Published):
    model_config = _AS_PUBLISHED
    content: Annotated[Text, StringConstraints(min_length=1, max_length=MAX_CONTENT_CHARS)]


class FollowUpAnswer(Published):
    message: Message
    session: Session


class CancelTold(Published):
    requested_at: str


class CancelAnswer(Published):
    session: Session
    cancel: CancelTold


class CompactionTold(Published):
    """The summary that a step began with. It stands for all that came before but the session's task; before the first
    step for the conversation's earlier messages. `tokensBefore`: of the prompt that it made shorter."""

    summary: str
    tokens_before: int
    model: str
    usage: dict[str, int]
    cost: float | None


class TranscriptStep(Published):
    """One step: the model's blocks as received and the results as the model saw them. What a compaction replaced stays
    in the steps before it."""

    step: int
    model: str
    stop_reason: str | None
    usage: dict[str, int]
    cost: float | None
    partial: bool
    compaction: CompactionTold | None
    messages: list[dict[str, Any]]


class TranscriptAnswer(Published):
    """`system`: the blocks of the system prompt, none before there is a reply."""

    session_id: str
    system: list[str]
    opening: list[dict[str, Any]]
    steps: list[TranscriptStep]


class AuditList(Published):
    entries: list[AuditEntry]
    next_cursor: str | None


class NewConversation(Published):
    model_config = _AS_PUBLISHED
    id: ConversationId | None = None
    title: Title | None = None
    preset_id: Annotated[Text, StringConstraints(max_length=128)] | None = None
    metadata: Metadata = Field(default_factory=dict)


class ConversationChange(Published):
    model_config = _AS_PUBLISHED
    title: Title | None = None
    metadata: Metadata | None = None


class ConversationAnswer(Published):
    conversation: Conversation


class ConversationList(Published):
    conversations: list[Conversation]
    next_cursor: str | None


class WholeConversation(Published):
    """`usage` and `cost` (USD): of all its sessions, the running one too; a cost is null where a part of it is not
    known."""

    conversation: Conversation
    messages: list[Message]
    active_session_id: str | None
    usage: dict[str, int]
    cost: float | None


class Export(Published):
    exported_at: str
    conversation: Conversation
    messages: list[Message]
    sessions: list[Session]
    usage: dict[str, int]
    cost: float | None


class PlainMessage(Published):
    model_config = _AS_PUBLISHED
    content: Annotated[Text, StringConstraints(min_length=1, max_length=MAX_CONTENT_CHARS)]
    model: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None


class PlainReply(Published):
    user_message: Message
    assistant_message: Message
    usage: dict[str, int] | None


class InteractiveBody(StartFields):
    """Body of `POST …/messages/with-tools`."""

    model_config = _AS_PUBLISHED
    security_mode: SecurityMode = "ask"
    max_steps: Annotated[int, Field(ge=1, le=5)] | None = None
    enable_tools: bool = True


class InteractiveReply(Published):
    """`assistantMessage` is null while the session goes on."""

    user_message: Message
    assistant_message: Message | None
    tool_calls: list[ToolCall]
    usage: dict[str, int] | None
    pending_approvals: list[Approval]
    session: Session


class DecisionBody(Published):
    """`reason` is shown to the model where the call is denied; `arguments` replace the model's where it is allowed."""

    model_config = _AS_PUBLISHED
    decision: ApprovalDecision
    reason: Annotated[Text, StringConstraints(max_length=1000)] | None = None
    arguments: ToolArguments | None = None


class ApproveBody(DecisionBody):
    """Body of `POST /api/chat/tools/approve`."""

    conversation_id: str
    approval_id: str


class ApprovalAnswer(Published):
    approval: Approval


class ApprovalList(Published):
    approvals: list[Approval]
    next_cursor: str | None


class ModelInfo(Published):
    id: str
    provider: Literal["anthropic"]
    default: bool
    thinking: str
    takes_temperature: bool
    max_output_tokens: int
    context_window: int
    price: dict[str, float] | None


class ModelList(Published):
    models: list[ModelInfo]


class ToolInfo(Published):
    name: str
    description: str
    input_schema: dict[str, Any]
    security_level: SecurityLevel
    effect: Effect


class ToolList(Published):
    tools: list[ToolInfo]
