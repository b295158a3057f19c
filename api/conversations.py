"""`/api/chat`: conversations, their messages, and the catalog of models and tools (CONTRACT §4)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status

from api.access import Caller
from api.beginning import IdempotencyKey, begin, offered, starter
from api.bodies import StrictRoute
from api.description import ERRORS, STREAM
from api.parts import PartsOf
from api.problems import RETRY_AFTER_SECONDS, Problem
from api.shapes import (
    AgenticBody,
    ConversationAnswer,
    ConversationChange,
    ConversationList,
    Export,
    ModelInfo,
    ModelList,
    NewConversation,
    PlainMessage,
    PlainReply,
    ToolInfo,
    ToolList,
    WholeConversation,
)
from api.stream import EventStream
from session.live import Position
from session.models import card
from session.prices import KNOWN_MODELS, price_of
from session.resources import Session
from session.start import StartFields
from store.conversations import Taken
from store.rows import iso
from store.sessions import Filters
from store.spending import day_of

router = APIRouter(prefix="/api/chat", tags=["conversations"], responses=ERRORS, route_class=StrictRoute)
_FAILED = {"TIMEOUT": 504, "PROVIDER_ERROR": 502, "CANCELLED": 409}


@router.get("/conversations")
async def list_conversations(
    parts: PartsOf,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
    q: Annotated[str | None, Query(max_length=500)] = None,
) -> ConversationList:
    """Conversations, newest first; `q` looks in titles and messages."""
    conversations, following = await parts.store.conversations.list(q, cursor, limit)
    return ConversationList(conversations=conversations, next_cursor=following)


@router.post("/conversations", status_code=status.HTTP_201_CREATED)
async def create(
    response: Response, parts: PartsOf, caller: Caller, body: NewConversation | None = None
) -> ConversationAnswer:
    """Make a conversation; the client may choose its id."""
    asked = body or NewConversation()
    try:
        made = await parts.store.conversations.create(asked.id, asked.title, asked.preset_id, asked.metadata)
    except Taken:
        raise Problem(409, "CONVERSATION_EXISTS", f"There is a conversation {asked.id} already.") from None
    response.headers["Location"] = f"/api/chat/conversations/{made.id}"
    return ConversationAnswer(conversation=made)


@router.get("/conversations/{conversation_id}")
async def read(conversation_id: str, parts: PartsOf, caller: Caller) -> WholeConversation:
    """A conversation with its messages; assistant messages carry their tool calls."""
    conversation, active = await parts.store.conversations.get(conversation_id)
    messages = await parts.store.conversations.messages(conversation_id)
    usage, cost = await parts.store.conversations.spent(conversation_id)
    return WholeConversation(
        conversation=conversation,
        messages=messages,
        active_session_id=active,
        usage=usage.published(),
        cost=cost,
    )


@router.patch("/conversations/{conversation_id}")
async def change(conversation_id: str, body: ConversationChange, parts: PartsOf, caller: Caller) -> ConversationAnswer:
    """Change title and metadata; absent fields stay as they are."""
    changes: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
    if changes.get("metadata", {}) is None:
        changes["metadata"] = {}
    changed = await parts.store.conversations.change(conversation_id, changes)
    return ConversationAnswer(conversation=changed)


@router.delete("/conversations/{conversation_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(conversation_id: str, parts: PartsOf, caller: Caller) -> None:
    """Remove a conversation, its messages, sessions and events; refused while a session runs. The folder that was made
    for it goes soon after, by a worker that sees it; the audit stays."""
    await parts.store.conversations.delete(conversation_id)


@router.get("/conversations/{conversation_id}/export")
async def export(conversation_id: str, response: Response, parts: PartsOf, caller: Caller) -> Export:
    """The whole conversation as one JSON document."""
    conversation, _ = await parts.store.conversations.get(conversation_id)
    messages = await parts.store.conversations.messages(conversation_id)
    sessions, cursor = await parts.store.sessions.list(Filters(conversation_id=conversation_id), None, 100)
    while cursor is not None:
        more, cursor = await parts.store.sessions.list(Filters(conversation_id=conversation_id), cursor, 100)
        sessions += more
    usage, cost = await parts.store.conversations.spent(conversation_id)
    response.headers["Content-Disposition"] = f'attachment; filename="{conversation_id}.json"'
    return Export(
        exported_at=iso(parts.store.database.clock()),
        conversation=conversation,
        messages=messages,
        sessions=sessions,
        usage=usage.published(),
        cost=cost,
    )


@router.post(
    "/conversations/{conversation_id}/messages/agentic",
    response_model=None,
    responses=STREAM,
)
async def agentic(
    conversation_id: str, body: AgenticBody, request: Request, parts: PartsOf, caller: Caller, key: IdempotencyKey
) -> EventStream:
    """Save the user message, start a session, answer with its event stream; the same key attaches to it again."""
    who = starter(request, caller, key, body.model_dump(mode="json", exclude_unset=True))
    started = await begin(parts, body, who, conversation_id)
    location = {"Location": f"/api/sessions/{started.session.id}"}
    return EventStream(parts.feeds, started.session.id, Position(0), location)


@router.post("/conversations/{conversation_id}/messages")
async def message(
    conversation_id: str, body: PlainMessage, request: Request, parts: PartsOf, caller: Caller, key: IdempotencyKey
) -> PlainReply:
    """One reply without tools: a session of one step, waited for."""
    who = starter(request, caller, key, body.model_dump(mode="json", exclude_unset=True))
    fields = StartFields(
        content=body.content, model=body.model, temperature=body.temperature, allowed_tools=[], max_steps=1
    )
    started = await begin(parts, fields, who, conversation_id)
    async for _ in parts.feeds.read(started.session.id, Position(0)):
        pass
    row = await parts.store.sessions.row(started.session.id)
    session = await parts.store.sessions.get(started.session.id)
    if session.error is not None:
        raise _failure(session)
    if session.message_id is None:
        raise Problem(
            503,
            "STILL_RUNNING",
            "The server stops; the reply goes on. Ask again with the same Idempotency-Key, or follow the session.",
            headers={"Retry-After": RETRY_AFTER_SECONDS},
            sessionId=session.id,
        )
    answered = await parts.store.conversations.message(row["message_id"])
    return PlainReply(
        user_message=await parts.store.conversations.message(row["user_message_id"]),
        assistant_message=answered,
        usage=answered.usage,
    )


def _failure(session: Session) -> Problem:
    assert session.error is not None
    return Problem(
        _FAILED.get(session.error.code, 500), session.error.code, session.error.message, sessionId=session.id
    )


@router.get("/models")
async def models(parts: PartsOf, caller: Caller) -> ModelList:
    """The models that are known, the default first; others may be named as well."""
    default = parts.settings.model
    today = day_of(parts.store.database.clock())
    names = [default, *(name for name in KNOWN_MODELS if name != default)]
    return ModelList(models=[_model(name, default, today) for name in names])


def _model(name: str, default: str, day: date) -> ModelInfo:
    known = card(name)
    price = price_of(name, day)
    dollars = None
    if price is not None:
        dollars = {
            "inputPerMTok": price.input,
            "outputPerMTok": price.output,
            "cacheReadPerMTok": price.cache_read,
            "cacheWritePerMTok": price.cache_write,
        }
    return ModelInfo(
        id=name,
        provider="anthropic",
        default=name == default,
        thinking=known.thinking,
        takes_temperature=known.takes_temperature,
        max_output_tokens=known.max_output_tokens,
        context_window=known.context_window,
        price=dollars,
    )


@router.get("/tools")
async def tools(parts: PartsOf, caller: Caller) -> ToolList:
    """The tools that sessions may use, with the schemas that the model sees."""
    return ToolList(
        tools=[
            ToolInfo(
                name=tool.name,
                description=tool.description,
                input_schema=tool.input_schema,
                security_level=tool.security_level,
                effect=tool.effect,
            )
            for tool in await offered(parts)
        ]
    )
