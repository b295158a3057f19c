"""`messages/with-tools`: a short session that asks before it acts (CONTRACT §4)."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from api.access import Caller
from api.beginning import IdempotencyKey, begin, starter
from api.bodies import StrictRoute
from api.description import ERRORS
from api.parts import Parts, PartsOf
from api.shapes import InteractiveBody, InteractiveReply
from session.live import Position
from session.start import StartFields

router = APIRouter(prefix="/api/chat", tags=["conversations"], responses=ERRORS, route_class=StrictRoute)
INTERACTIVE_STEPS = 5
MOST_PENDING = 100


@router.post("/conversations/{conversation_id}/messages/with-tools")
async def with_tools(
    conversation_id: str,
    body: InteractiveBody,
    request: Request,
    response: Response,
    parts: PartsOf,
    caller: Caller,
    key: IdempotencyKey,
) -> InteractiveReply:
    """A session of at most 5 steps in which moderate and dangerous tools wait for approval. Answers when it ends, or
    when it first waits: it goes on then, and its events tell how."""
    who = starter(request, caller, key, body.model_dump(mode="json", exclude_unset=True))
    given = body.model_dump(exclude={"enable_tools"}, exclude_unset=True)
    given |= {"security_mode": body.security_mode, "max_steps": body.max_steps or INTERACTIVE_STEPS}
    if not body.enable_tools:
        given["allowed_tools"] = []
    started = await begin(parts, StartFields(**given), who, conversation_id)
    await _until_it_ends_or_waits(parts, started.session.id)
    response.headers["X-Session-Id"] = started.session.id
    response.headers["Location"] = f"/api/sessions/{started.session.id}"
    return await _reply(parts, started.session.id)


async def _until_it_ends_or_waits(parts: Parts, session_id: str) -> None:
    async for batch in parts.feeds.read(session_id, Position(0)):
        for frame in batch:
            if not frame.at.n and json.loads(frame.text)["type"] == "approval:required":
                return


async def _reply(parts: Parts, session_id: str) -> InteractiveReply:
    row = await parts.store.sessions.row(session_id)
    conversations = parts.store.conversations
    answered = await conversations.message(row["message_id"]) if row["message_id"] is not None else None
    pending, _ = await parts.store.approvals.list("pending", session_id, None, None, MOST_PENDING)
    return InteractiveReply(
        user_message=await conversations.message(row["user_message_id"]),
        assistant_message=answered,
        tool_calls=await conversations.tool_calls(session_id),
        usage=answered.usage if answered else (await parts.store.sessions.get(session_id)).usage,
        pending_approvals=pending,
        session=await parts.store.sessions.get(session_id),
    )
