"""What the store's tests do again and again: start a session, make a reply, read what was told."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from session.events import Result, ResultError
from session.resources import Session
from session.start import StartFields
from session.tooling import Tool
from session.usage import Usage
from session.vocabulary import Effect, Gate
from session.wire import CallRef, StepRef, ToolRef
from store import Store
from store.replies import NewCall, Reply
from store.starting import Caller, Started

MODEL = "claude-test"
OK = Result(success=True, content="fine")
FAILED = Result(success=False, error=ResultError(code="BROKEN", message="it broke"))


class Clock:
    """A clock that stands still until it is moved. Unix ms."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


class Told(NamedTuple):
    """One fact as a reader sees it."""

    offset: int
    type: str
    data: dict[str, Any]


def fields(content: str = "do it", **said: Any) -> StartFields:
    return StartFields.model_validate({"content": content, **said})


async def begin_session(
    store: Store, content: str = "do it", *, into: str | None = None, caller: Caller | None = None, **said: Any
) -> Started:
    return await store.starting.start(fields(content, **said), MODEL, caller or Caller(), into)


async def new_session(store: Store, content: str = "do it", **said: Any) -> Session:
    return (await begin_session(store, content, **said)).session


def step(session: Session | str, number: int = 1, epoch: int = 1) -> StepRef:
    return StepRef(session if isinstance(session, str) else session.id, number, epoch, 0)


def tool(at: StepRef, call_id: str, gate: Gate = "run") -> ToolRef:
    return ToolRef(at, call_id, gate)


def new_call(call_id: str, effect: Effect = "readOnly", name: str = "exec", **arguments: Any) -> NewCall:
    return NewCall(CallRef(call_id, name, effect, f"{name}{arguments}"), arguments, "moderate")


def asking(call_id: str, effect: Effect = "sideEffect", name: str = "exec", **arguments: Any) -> NewCall:
    """A call that waits for an approval."""
    return NewCall(CallRef(call_id, name, effect, f"{name}{arguments}", "ask"), arguments, "dangerous")


EXEC = Tool(
    name="exec",
    description="Run a command",
    input_schema={"type": "object"},
    security_level="dangerous",
    effect="sideEffect",
    subject="command",
    runs_commands=True,
)


def reply(text: str = "", *calls: NewCall, tokens: int = 10, thinking: str = "", cost: float | None = None) -> Reply:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    uses = [{"type": "tool_use", "id": call.ref.id, "name": call.ref.name, "input": call.arguments} for call in calls]
    usage = Usage(input_tokens=tokens)
    return Reply(MODEL, blocks + uses, usage=usage, cost=cost, thinking=thinking, text=text, calls=calls)


async def story(store: Store, session: Session | str) -> list[Told]:
    """All facts of a session, read a few at a time."""
    session_id = session if isinstance(session, str) else session.id
    told: list[Told] = []
    while page := await store.facts.after(session_id, told[-1].offset if told else 0, limit=7):
        for frame in page:
            event = json.loads(frame.text)
            told.append(Told(frame.at.offset, event["type"], event["data"]))
    return told


async def types(store: Store, session: Session | str) -> list[str]:
    return [fact.type for fact in await story(store, session)]
