"""Approvals: list them, decide them (CONTRACT §4).

A decision is stored, offered to the session's workflow, and answered with what came of it: the first one wins, whoever
comes later is told who decided what. Sent again after an answer was lost, the same decision of the same caller is
answered like the first time.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query

from activities.tools import TOOLS
from activities.tools.spec import ToolError, parsed
from api.access import Caller
from api.bodies import StrictRoute
from api.description import ERRORS
from api.parts import Parts, PartsOf
from api.problems import Problem, invalid
from api.shapes import ApprovalAnswer, ApprovalList, ApproveBody, DecisionBody
from session.patterns import permits
from session.resources import Approval
from session.vocabulary import ApprovalStatus
from session.wire import Decision
from store.approvals import NotPending, Offer
from store.ledger import NotFound

router = APIRouter(prefix="/api", tags=["approvals"], responses=ERRORS, route_class=StrictRoute)
SETTLING_SECONDS = 5.0
"""How long the one who lost is kept waiting for what the winner's decision comes to."""


@router.get("/approvals")
async def list_approvals(
    parts: PartsOf,
    caller: Caller,
    status: ApprovalStatus | None = None,
    session_id: Annotated[str | None, Query(alias="sessionId")] = None,
    conversation_id: Annotated[str | None, Query(alias="conversationId")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> ApprovalList:
    """Approvals, newest first."""
    found, following = await parts.store.approvals.list(status, session_id, conversation_id, cursor, limit)
    return ApprovalList(approvals=found, next_cursor=following)


@router.get("/approvals/{approval_id}")
async def read(approval_id: str, parts: PartsOf, caller: Caller) -> ApprovalAnswer:
    """An approval, decided or not."""
    return ApprovalAnswer(approval=await parts.store.approvals.get(approval_id))


@router.post("/sessions/{session_id}/approvals/{approval_id}")
async def decide(
    session_id: str, approval_id: str, body: DecisionBody, parts: PartsOf, caller: Caller
) -> ApprovalAnswer:
    """Decide an approval of a session."""
    approval = await parts.store.approvals.get(approval_id)
    if approval.session_id != session_id:
        raise NotFound(f"no approval {approval_id} in session {session_id}")
    return ApprovalAnswer(approval=await _decided(parts, approval, body, caller))


@router.post("/chat/tools/approve")
async def approve(body: ApproveBody, parts: PartsOf, caller: Caller) -> ApprovalAnswer:
    """Decide an approval of a conversation."""
    approval = await parts.store.approvals.get(body.approval_id)
    if approval.conversation_id != body.conversation_id:
        raise NotFound(f"no approval {body.approval_id} in conversation {body.conversation_id}")
    return ApprovalAnswer(approval=await _decided(parts, approval, body, caller))


async def _decided(parts: Parts, approval: Approval, body: DecisionBody, caller: str) -> Approval:
    await _check(parts, approval, body)
    offer = Offer(body.decision, caller, body.reason, body.arguments)
    try:
        decision_id = await parts.store.approvals.offer(approval.id, offer)
    except NotPending as late:
        return await _told(parts, late.approval, offer)
    won = await parts.temporal.decide(approval.session_id, Decision(approval.id, decision_id))
    settled = await _settled(parts, approval.id)
    return settled if won else await _told(parts, settled, offer)


async def _check(parts: Parts, approval: Approval, body: DecisionBody) -> None:
    """Raises Problem 422 for new arguments that the session's `allowedTools` leave out, or that the tool would refuse,
    as far as this server knows the tool."""
    if body.arguments is None:
        return
    if body.decision == "deny":
        raise invalid("arguments", "can only be sent with a decision that allows the call")
    row = await parts.store.sessions.row(approval.session_id)
    allowed = json.loads(row["settings"])["allowedTools"]
    tools = await parts.store.toolsets.get(row["toolset"]) if allowed is not None and row["toolset"] else None
    if any(tool.name == approval.name and not permits(allowed, tool, body.arguments) for tool in tools or ()):
        raise invalid("arguments", "such a call is not among the session's allowedTools")
    spec = TOOLS.get(approval.name)
    if spec is None:
        return
    try:
        parsed(spec, body.arguments)
    except ToolError as error:
        raise invalid("arguments", error.message) from None


async def _settled(parts: Parts, approval_id: str) -> Approval:
    """The approval as soon as it is not pending any more; what decided it is being recorded."""
    ends = asyncio.get_running_loop().time() + SETTLING_SECONDS
    while True:
        approval = await parts.store.approvals.get(approval_id)
        if approval.status != "pending" or asyncio.get_running_loop().time() > ends:
            return approval
        await asyncio.sleep(0.02)


async def _told(parts: Parts, approval: Approval, offer: Offer) -> Approval:
    """What came of it, told to somebody whose decision was not the first. Raises Problem 409 where it came to something
    else, or to the call with other arguments."""
    if await parts.store.approvals.came_to(approval.id, offer):
        return approval
    more: dict[str, Any] = {"approval": approval.model_dump(mode="json", by_alias=True)}
    if approval.status == "expired":
        raise Problem(409, "APPROVAL_EXPIRED", "Nobody decided in time, or the session ended: it was denied.", **more)
    if approval.status == "pending":
        raise Problem(
            409, "APPROVAL_TAKEN", "No call waits for it any more; what came of it is being recorded.", **more
        )
    raise Problem(409, "APPROVAL_DECIDED", f"It was {approval.status} already, by {approval.by}.", **more)
