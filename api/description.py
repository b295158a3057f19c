"""What the API says of itself at `/openapi.json` beyond its resources: error answers, and the events of a stream."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from session.events import EVENTS, Event

REFERENCE = "#/components/schemas/{model}"


class ProblemField(BaseModel):
    field: str
    problem: str


class ProblemAnswer(BaseModel):
    """Every answer that is an error: a sentence for people, a code for machines (CONTRACT §6)."""

    error: str
    code: str
    details: list[ProblemField] | None = None
    sessionId: str | None = None  # noqa: N815 - the wire's spelling


_ERRORS = {
    400: "Malformed: no JSON, a bad cursor, event id or Idempotency-Key",
    401: "No key, or one that is not known",
    403: "A foreign origin, or a Host that is not loopback where no keys are configured",
    404: "No such resource",
    409: "The state forbids it: a session is active, or has ended already",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "Invalid: `details` names the fields",
    429: "Too many wait already: try again after `Retry-After` seconds",
    503: "The store or Temporal is away, nothing was lost: try again with the same Idempotency-Key",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemAnswer, "description": sentence} for status, sentence in _ERRORS.items()
}
"""For `responses=` of a router."""

_FRAMES = {
    "description": "Frames of `id:` and one `data:` line, which holds an `Event`; it closes after the last one",
    "content": {
        "text/event-stream": {"schema": {"type": "string", "contentSchema": {"$ref": "#/components/schemas/Event"}}}
    },
}
STREAM: dict[int | str, dict[str, Any]] = {200: _FRAMES}
STREAM_OR_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        **_FRAMES,
        "content": {
            **_FRAMES["content"],  # type: ignore[dict-item]
            "application/json": {"schema": {"$ref": "#/components/schemas/EventPage"}},
        },
    },
    204: {"description": "The session is over and the last event was seen: an EventSource stops reconnecting"},
}


def describe(app: FastAPI) -> None:
    """Give the app its OpenAPI document, made once when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            told = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            told["components"]["schemas"] |= _event_schemas()
            _only_streams(told)
            app.openapi_schema = told
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _only_streams(told: dict[str, Any]) -> None:
    """The framework says of every call that it may answer with JSON; one that only streams does not."""
    for calls in told["paths"].values():
        for call in calls.values():
            content = call["responses"].get("200", {}).get("content", {})
            if "text/event-stream" in content and not content.get("application/json", {}).get("schema", True):
                del content["application/json"]


def _event_schemas() -> dict[str, Any]:
    named = {cls.__name__ + "Event": _schema(kind, cls) for kind, cls in EVENTS.items()}
    choices = [{"$ref": REFERENCE.format(model=name)} for name in named]
    kinds = {kind: choice["$ref"] for kind, choice in zip(EVENTS, choices, strict=True)}
    event = {"oneOf": choices, "discriminator": {"propertyName": "type", "mapping": kinds}}
    number = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    numbered = {"allOf": [{"$ref": REFERENCE.format(model="Event")}, number]}
    page = _object(
        {
            "events": {"type": "array", "items": numbered},
            "nextAfter": {"type": "string"},
            "done": {"type": "boolean"},
        }
    )
    return {**named, "Event": event, "EventPage": page}


def _schema(kind: str, cls: type[Event]) -> dict[str, Any]:
    """`{"type", "data", "timestamp"}` of one type of event."""
    data = cls.model_json_schema(by_alias=True, mode="serialization")
    fields = {name: field for name, field in data["properties"].items() if name != "type"}
    told = _object({"type": {"const": kind}, "data": _object(fields, cls.optional), "timestamp": {"type": "integer"}})
    del told["additionalProperties"]  # in a JSON page it has its `id` as well
    for definition, schema in data.get("$defs", {}).items():
        told["properties"]["data"].setdefault("$defs", {})[definition] = schema
    return told


def _object(fields: dict[str, Any], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    required = sorted(fields.keys() - optional)
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
