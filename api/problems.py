"""Errors as the API tells them (CONTRACT §6): `{"error", "code", "details"?}`, a sentence that says what to change.

Problem                          raised by routes, carries its own status and code
RequestValidationError           422 (400 where the body is no JSON), names the fields, never echoes values
NotFound 404 · Conflict 409 · KeyReused 422 · BadCursor 400
Archived 409 · SyncRunning 409     the memory session takes nothing new; another sync goes on still
SessionEnding                    409: the session will take no more steps
QueueFull, TooManyUnseen         429 + Retry-After: as many sessions of this key wait as may; as many follow-ups
StoreUnavailable, TemporalAway   503 + Retry-After: nothing was lost
anything else                    500 INTERNAL, logged, without a trace
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from activities.memory import SyncRunning
from api.temporal import TemporalAway
from session.model import storable
from store import StoreUnavailable
from store.admission import QueueFull
from store.cursor import BadCursor
from store.follow_ups import MOST_UNSEEN, SessionEnding, TooManyUnseen
from store.ledger import NotFound, SessionOver
from store.line import LineFull
from store.memory_links import Archived
from store.starting import Conflict, KeyReused

logger = logging.getLogger("perdure.api")
RETRY_AFTER_SECONDS = "2"
QUEUE_AFTER_SECONDS = "10"
"""A place in a full queue comes with the end of a session."""
_CODES = {400: "BAD_REQUEST", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_LARGE"}
_LENGTHS = {"too_long": ("max_length", "most"), "too_short": ("min_length", "least")}
MAX_FIELDS = 20
MAX_NAME_CHARS = 200


class Problem(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.body = {"error": sentence, "code": code, **more}
        if details is not None:
            self.body["details"] = details
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers)


def install(app: FastAPI) -> None:
    """Give the app its error answers."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in (NotFound, Conflict, KeyReused, BadCursor, SessionOver, QueueFull, Archived, SyncRunning):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(SessionEnding, _not_said)
    app.add_exception_handler(TooManyUnseen, _not_said)
    app.add_exception_handler(StoreUnavailable, _away)
    app.add_exception_handler(TemporalAway, _away)
    app.add_exception_handler(Exception, _internal)


def _whose(error: QueueFull) -> str:
    return "conversation" if isinstance(error, LineFull) else "key"


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _refused(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Conflict):
        return session_active(error.session_id).response()
    if isinstance(error, NotFound):
        return Problem(404, "NOT_FOUND", f"There is {error}.").response()
    if isinstance(error, KeyReused):
        return Problem(
            422,
            "IDEMPOTENCY_KEY_REUSED",
            "This Idempotency-Key was used before with another request; use a new key for a new request.",
        ).response()
    if isinstance(error, QueueFull):
        return Problem(
            429,
            "QUEUE_FULL",
            f"As many sessions of this {_whose(error)} wait as may; try again later. Nothing was stored.",
            headers={"Retry-After": QUEUE_AFTER_SECONDS},
        ).response()
    if isinstance(error, Archived):
        return Problem(409, "MEMORY_ARCHIVED", f"The memory session {error} is archived; use another one.").response()
    if isinstance(error, SyncRunning):
        return Problem(409, "SYNC_RUNNING", "Another sync is going on still; try again when it is done.").response()
    if isinstance(error, SessionOver):
        return Problem(409, "SESSION_ENDED", "The session has ended already.").response()
    return Problem(400, "BAD_CURSOR", "The cursor is not one that this API gave out.").response()


async def _not_said(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, SessionEnding):
        sentence = f"The session ends: {error.why}. Start a new session in the conversation."
        return Problem(409, "SESSION_ENDING", sentence).response()
    sentence = f"The session has not seen the last {MOST_UNSEEN} messages yet; wait for its next step."
    headers = {"Retry-After": RETRY_AFTER_SECONDS}
    return Problem(429, "TOO_MANY_MESSAGES", sentence, headers=headers).response()


def invalid(field: str, problem: str) -> Problem:
    """A request whose field cannot be accepted, in the shape of every 422."""
    return Problem(
        422, "INVALID", f"The request is not valid: {field}: {problem}", details=[{"field": field, "problem": problem}]
    )


def session_active(session_id: str) -> Problem:
    """One active session per conversation (CONTRACT §2)."""
    sentence = f"The session {session_id} is not over yet; wait for its end or cancel it."
    return Problem(409, "SESSION_ACTIVE", sentence, sessionId=session_id)


async def _away(request: Request, error: Exception) -> JSONResponse:
    logger.warning("%s: %s", type(error).__name__, error)
    part = "The store" if isinstance(error, StoreUnavailable) else "Temporal"
    sentence = f"{part} is away for the moment. Nothing was lost; try again with the same Idempotency-Key."
    code = "STORE_UNAVAILABLE" if isinstance(error, StoreUnavailable) else "TEMPORAL_UNAVAILABLE"
    return Problem(503, code, sentence, headers={"Retry-After": RETRY_AFTER_SECONDS}).response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        sentence = f"There is nothing at {request.url.path}; GET /docs lists the calls."
    else:
        sentence = str(error.detail)
    code = _CODES.get(error.status_code, "ERROR")
    return Problem(error.status_code, code, sentence, headers=error.headers).response()


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if any(one["type"] == "json_invalid" for one in errors):
        return Problem(400, "MALFORMED_JSON", "The body is not valid JSON.").response()
    fields = [{"field": _place(one["loc"]), "problem": _sentence(one)} for one in errors[:MAX_FIELDS]]
    told = "; ".join(f"{field['field']}: {field['problem']}" for field in fields[:5])
    return Problem(422, "INVALID", f"The request is not valid: {told}", details=fields).response()


def _place(location: Sequence[Any]) -> str:
    """The field's name below `body`, `query` or `header`. It may be the client's own word: cut, and made storable."""
    return storable(".".join(str(part) for part in location[1:]))[:MAX_NAME_CHARS] or "body"


def _sentence(one: Mapping[str, Any]) -> str:
    if one["type"] == "extra_forbidden":
        return "is not a field of this call"
    if one["type"] == "string_unicode":
        return "must be valid Unicode"
    if one["type"] in _LENGTHS and isinstance(one["input"], str):
        bound, word = _LENGTHS[one["type"]]  # the validator's own words count "items after validation"
        return f"must have at {word} {one['ctx'][bound]} characters"
    return str(one["msg"]).removeprefix("Value error, ")[:300]


async def _internal(request: Request, error: Exception) -> JSONResponse:
    logger.error("unforeseen failure in %s %s", request.method, request.url.path, exc_info=error)
    return Problem(500, "INTERNAL", "Something failed on our side; the log has the reason.").response()
