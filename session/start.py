"""What a client may say when it starts a session: the fields, their bounds and defaults (CONTRACT §2, Start fields)."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from session.fallbacks import MOST_FALLBACKS
from session.model import Metadata, Published, Text, is_json
from session.vocabulary import (
    MAX_CONTENT_CHARS,
    MAX_STEPS,
    MAX_TIMEOUT_SECONDS,
    STEPS_OF_EFFORT,
    Effort,
    OnConflict,
    Provider,
    SecurityMode,
)

ConversationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
"""Chosen by us or by the client; also the name of the conversation's workspace folder, hence the narrow alphabet."""

ModelId = Annotated[Text, StringConstraints(min_length=1, max_length=200)]


def _no_subfolders_upwards(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError("must be a relative path inside the workspace root, without '..'")
    return path


class StartFields(Published):
    """The fields shared by every call that starts a session. Absent means the default."""

    content: Annotated[Text, StringConstraints(min_length=1, max_length=MAX_CONTENT_CHARS)]
    model: ModelId | None = None
    fallback: Annotated[list[ModelId], Field(max_length=MOST_FALLBACKS)] | None = None
    provider: Provider = "anthropic"
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    effort: Effort = "medium"
    max_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None
    max_budget: Annotated[int, Field(ge=1000, le=10**15)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    show_thinking: bool = True
    security_mode: SecurityMode = "full"
    allowed_tools: Annotated[list[Text], Field(max_length=200)] | None = None
    system_prompt: Annotated[Text, StringConstraints(max_length=MAX_CONTENT_CHARS)] | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_SECONDS)] = MAX_TIMEOUT_SECONDS
    workspace: Annotated[Text, StringConstraints(min_length=1, max_length=400)] | None = None
    memory_session_id: Annotated[Text, StringConstraints(min_length=1, max_length=128)] | None = None
    metadata: Metadata = Field(default_factory=dict)
    response_schema: Annotated[dict[str, Any], AfterValidator(is_json)] | None = None
    on_conflict: OnConflict = "reject"

    @field_validator("workspace")
    @classmethod
    def _inside_the_root(cls, path: str | None) -> str | None:
        return None if path is None else _no_subfolders_upwards(path)

    @property
    def step_budget(self) -> int:
        """`maxSteps`, or what the effort stands for."""
        return self.max_steps or STEPS_OF_EFFORT[self.effort]


class StartSession(StartFields):
    """Body of `POST /api/sessions`."""

    conversation_id: ConversationId | None = None


SETTINGS = frozenset(
    {
        "fallback",
        "temperature",
        "allowed_tools",
        "system_prompt",
        "timeout_seconds",
        "workspace",
        "memory_session_id",
        "metadata",
        "response_schema",
    }
)
"""Fields that are kept with the session as one JSON document; the others have columns of their own."""
