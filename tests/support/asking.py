"""The steps that tests of the API are made of: start, follow, cancel, and look."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.events import Event, Stream, event_of, opened

Json = dict[str, Any]
AGENTIC = "/api/chat/conversations/{}/messages/agentic"
MESSAGES = "/api/chat/conversations/{}/messages"


async def start(http: httpx.AsyncClient, content: str, *, key: str | None = None, **fields: Any) -> Json:
    """Start a session without holding a stream; the session as it was answered."""
    headers = {"Idempotency-Key": key} if key else {}
    answer = await http.post("/api/sessions", json={"content": content, **fields}, headers=headers)
    assert answer.status_code == 202, answer.text
    session: Json = answer.json()["session"]
    return session


async def follow(http: httpx.AsyncClient, session_id: str, after: str | None = None) -> list[Event]:
    """All events of a session to its end, from the beginning or after an id."""
    params = {"after": after} if after is not None else {}
    async with opened(http, "GET", f"/api/sessions/{session_id}/events", params=params) as stream:
        return await stream.rest()


async def play(http: httpx.AsyncClient, content: str, **fields: Any) -> list[Event]:
    """Start a session and follow it to its end."""
    return await follow(http, (await start(http, content, **fields))["id"])


def following(http: httpx.AsyncClient, session_id: str, **headers: str) -> Any:
    """An open stream of a session's events: `async with following(...) as stream`."""
    return opened(http, "GET", f"/api/sessions/{session_id}/events", headers=headers)


async def pages(http: httpx.AsyncClient, session_id: str) -> list[Event]:
    """All facts of a session that is over, read as JSON pages."""
    found: list[Event] = []
    after = "0"
    while True:
        page = await get(
            http, f"/api/sessions/{session_id}/events", after=after, headers={"Accept": "application/json"}
        )
        assert set(page) == {"events", "nextAfter", "done"}
        found += [event_of(told.pop("id"), told) for told in page["events"]]
        after = page["nextAfter"]
        if page["done"]:
            return found


async def get(http: httpx.AsyncClient, path: str, *, headers: dict[str, str] | None = None, **params: Any) -> Json:
    answer = await http.get(path, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


async def session(http: httpx.AsyncClient, session_id: str) -> Json:
    told: Json = (await get(http, f"/api/sessions/{session_id}"))["session"]
    return told


async def conversation(http: httpx.AsyncClient, **fields: Any) -> str:
    """Make a conversation; its id."""
    answer = await http.post("/api/chat/conversations", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation"]["id"])


async def cancel(http: httpx.AsyncClient, session_id: str, **body: Any) -> httpx.Response:
    return await http.post(f"/api/sessions/{session_id}/cancel", json=body)


def problem(answer: httpx.Response, status: int, code: str) -> Json:
    """The answer is an error as CONTRACT §6 says it: a sentence and a code, and no trace."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/json"
    told: Json = answer.json()
    assert told["code"] == code, told
    assert isinstance(told["error"], str) and told["error"]
    assert "Traceback" not in answer.text and ".py" not in answer.text
    return told


def names_field(answer: httpx.Response, field: str) -> Json:
    """The answer is a 422 that names the field."""
    told = problem(answer, 422, "INVALID")
    assert field in [detail["field"] for detail in told["details"]], told
    assert field in told["error"]
    return told


__all__ = ["Stream", "cancel", "conversation", "follow", "following", "get", "names_field", "pages", "play", "problem"]
