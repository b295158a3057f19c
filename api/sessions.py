"""`/api/sessions`: start, list, read, follow, cancel, retry (CONTRACT §2, §3)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from pydantic import AwareDatetime

from activities.transcript import opening_messages, opening_of, step_messages
from api.access import Caller
from api.beginning import IdempotencyKey, begin, launch, starter
from api.bodies import StrictRoute
from api.description import ERRORS, STREAM_OR_PAGE
from api.parts import Parts, PartsOf
from api.problems import Problem, invalid
from api.shapes import (
    CancelAnswer,
    CancelBody,
    CancelTold,
    CompactionTold,
    FollowUpAnswer,
    FollowUpBody,
    RetryAnswer,
    SessionAnswer,
    SessionList,
    StartBody,
    TranscriptAnswer,
    TranscriptStep,
)
from api.stream import EventStream
from session.live import Position
from session.resources import Session, SessionProgress
from session.status import is_terminal
from session.vocabulary import SessionStatus
from session.wire import CancelRequest
from store.compactions import Summary
from store.rows import iso
from store.sessions import Filters

router = APIRouter(prefix="/api/sessions", tags=["sessions"], responses=ERRORS, route_class=StrictRoute)
PAGE = 1000


@router.post("", status_code=status.HTTP_202_ACCEPTED)
async def start(
    body: StartBody, request: Request, response: Response, parts: PartsOf, caller: Caller, key: IdempotencyKey
) -> SessionAnswer:
    """Start a session without holding a stream; follow it at its `events`."""
    who = starter(request, caller, key, body.model_dump(mode="json", exclude_unset=True))
    started = await begin(parts, body, who, body.conversation_id)
    response.headers["Location"] = f"/api/sessions/{started.session.id}"
    return SessionAnswer(session=started.session)


@router.get("")
async def list_sessions(
    parts: PartsOf,
    caller: Caller,
    status: Annotated[str | None, Query(description="one status, or several with commas")] = None,
    conversation_id: Annotated[str | None, Query(alias="conversationId")] = None,
    model: str | None = None,
    created_after: Annotated[AwareDatetime | None, Query(alias="createdAfter")] = None,
    created_before: Annotated[AwareDatetime | None, Query(alias="createdBefore")] = None,
    q: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> SessionList:
    """Sessions, newest first."""
    filters = Filters(
        statuses=_statuses(status),
        conversation_id=conversation_id,
        model=model,
        created_after_ms=_unix_ms(created_after),
        created_before_ms=_unix_ms(created_before),
        q=q,
    )
    sessions, following = await parts.store.sessions.list(filters, cursor, limit)
    return SessionList(sessions=sessions, next_cursor=following)


def _statuses(text: str | None) -> tuple[str, ...]:
    known = SessionStatus.__args__  # type: ignore[attr-defined]  # a Literal's values
    asked = tuple(part.strip() for part in text.split(",")) if text else ()
    for one in asked:
        if one not in known:
            raise invalid("status", f"must be one or several of {', '.join(known)}")
    return asked


def _unix_ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


@router.get("/{session_id}")
async def read(session_id: str, parts: PartsOf, caller: Caller) -> SessionAnswer:
    """A session; while it runs, `progress` tells where its workflow stands."""
    row = await parts.store.sessions.row(session_id)
    if not is_terminal(row["status"]) and parts.store.database.clock() > row["deadline_ms"]:
        await parts.feeds.overdue(session_id)
    session = await parts.store.sessions.get(session_id)
    if session.status == "running":
        session = session.model_copy(update={"progress": await _progress(parts, session, row["attempt"])})
    return SessionAnswer(session=session)


async def _progress(parts: Parts, session: Session, attempt: int) -> SessionProgress | None:
    told = await parts.temporal.progress(session.id)
    if told is None:
        return None
    return SessionProgress(
        phase=told.phase,
        step=told.step,
        attempt=max(1, attempt),
        pending_tools=told.pending_tools,
        usage=told.usage.published(),
        deadline=iso(told.deadline_ms),
    )


@router.get("/{session_id}/events", response_model=None, responses=STREAM_OR_PAGE)
async def events(
    session_id: str,
    parts: PartsOf,
    caller: Caller,
    after: Annotated[str | None, Query(description="the id of the last event seen")] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    accept: Annotated[str, Header()] = "",
) -> Response | dict[str, Any]:
    """The session's events from the beginning or after an id: SSE, or one JSON page of facts."""
    head = await parts.store.facts.head(session_id)
    asked = last_event_id if last_event_id is not None else after
    at = _position(asked, head.last)
    if "application/json" in accept and "text/event-stream" not in accept:
        return await _page(parts, session_id, at, head.over)
    if last_event_id is not None and head.over and at.offset == head.last:
        return Response(status_code=status.HTTP_204_NO_CONTENT)  # tells an EventSource to stop reconnecting
    return EventStream(parts.feeds, session_id, at)


async def _page(parts: Parts, session_id: str, at: Position, over: bool) -> dict[str, Any]:
    frames = await parts.store.facts.after(session_id, at.offset, PAGE)
    shown = [{"id": str(frame.at), **json.loads(frame.text)} for frame in frames]
    last = frames[-1].at if frames else at
    return {"events": shown, "nextAfter": str(last), "done": over and len(frames) < PAGE}


def _position(asked: str | None, last: int) -> Position:
    if not asked:
        return Position(0)
    try:
        at = Position.parse(asked.strip())
    except ValueError:
        raise Problem(400, "BAD_EVENT_ID", "An event id is a number such as 12, or 12.3 for a live fragment.") from None
    if at.offset > last:
        raise Problem(400, "BAD_EVENT_ID", f"The event id {asked} is beyond the session's last event, {last}.")
    return at


@router.post("/{session_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
async def cancel(session_id: str, parts: PartsOf, caller: Caller, body: CancelBody | None = None) -> CancelAnswer:
    """Ask a session to end: `now` at once, `graceful` after the running step. Asking again changes nothing."""
    asked = body or CancelBody()
    session, requested = await parts.store.sessions.request_cancel(session_id, asked.mode, asked.reason, caller)
    if not is_terminal(session.status):  # one that waited in line ended with it, and has nobody to tell
        parts.store.bus.hint_cancel(session_id, asked.mode)
        await parts.temporal.cancel(session_id, CancelRequest(asked.mode, "", caller))
    return CancelAnswer(session=session, cancel=CancelTold(requested_at=iso(requested)))


@router.post("/{session_id}/retry", status_code=status.HTTP_202_ACCEPTED)
async def retry(
    session_id: str, request: Request, response: Response, parts: PartsOf, caller: Caller, key: IdempotencyKey
) -> RetryAnswer:
    """Start a new session from the same user message; only from a terminal state."""
    started = await parts.store.starting.retry(session_id, starter(request, caller, key, {}))
    started = await launch(parts, started)
    response.headers["Location"] = f"/api/sessions/{started.session.id}"
    return RetryAnswer(session=started.session, original_session_id=session_id)


@router.post("/{session_id}/messages", status_code=status.HTTP_202_ACCEPTED)
async def say(
    session_id: str, body: FollowUpBody, request: Request, parts: PartsOf, caller: Caller, key: IdempotencyKey
) -> FollowUpAnswer:
    """Say something to a session that is not over: its next step sees it, and it goes on for it."""
    who = starter(request, caller, key, body.model_dump(mode="json"))
    added = await parts.store.follow_ups.add(session_id, body.content, who)
    return FollowUpAnswer(message=added.message, session=added.session)


@router.get("/{session_id}/transcript")
async def transcript(session_id: str, parts: PartsOf, caller: Caller) -> TranscriptAnswer:
    """The exact blocks that the model saw, step by step."""
    row = await parts.store.sessions.row(session_id)
    said_before, summary = await opening_of(parts.store, row)
    compacted = {one.step: _told(one.summary) for one in await parts.store.compactions.of(session_id)}
    turns = await parts.store.transcripts.turns(session_id)
    said = await parts.store.interjections.of(session_id)
    prompt = await parts.store.prompts.of(session_id)
    steps = [
        TranscriptStep(
            step=turn.step,
            model=turn.model,
            stop_reason=turn.stop_reason,
            usage=turn.usage,
            cost=turn.cost,
            partial=turn.partial,
            compaction=compacted.get(turn.step),
            messages=step_messages(turn, said),
        )
        for turn in turns
    ]
    system = [part for part in prompt or () if part]
    opening = opening_messages(said_before, summary)
    return TranscriptAnswer(session_id=session_id, system=system, opening=opening, steps=steps)


def _told(summary: Summary) -> CompactionTold:
    return CompactionTold(
        summary=summary.text,
        tokens_before=summary.tokens_before,
        model=summary.model,
        usage=summary.usage.published(),
        cost=summary.cost,
    )
