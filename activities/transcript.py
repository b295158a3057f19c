"""The transcript as the model's messages: what was said before the session, its turns, what was said in between.

It is loaded by reference and what is written never changes, so what was read for one step is kept for the next
(bounded); a worker that has nothing kept reads it all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from store import Store
from store.interjections import Interjected
from store.transcript import CallResult, Said, Turn

Messages = list[dict[str, Any]]
"""Messages of the provider's API, roles alternating."""

KEPT_TRANSCRIPTS = 64
OPENING_BYTES = 400_000
"""Earlier messages beyond this are left out. Bytes rather than characters: a token is some four letters of English but
hardly one character of Chinese, and both must stay well inside the smallest window, 200,000 tokens."""
THOUGHTS = ("thinking", "redacted_thinking")
_UNANSWERED = "This call has no result: the session was interrupted before it ran."


@dataclass(slots=True)
class _Kept:
    """What was read of a session, as its model may see it: `turns[k]` is step k + 1."""

    model: str
    opening: Messages
    turns: list[Messages] = field(default_factory=list)


class Transcript:
    """The messages of running sessions, kept between the steps of a worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def messages(self, row: Mapping[str, Any], step: int) -> Messages:
        """What the model is to see at this step of a session's row: what was said before the session, its turns until
        then, and what was said to it meanwhile."""
        session_id: str = row["id"]
        kept = self._kept.pop(session_id, None)
        if kept is None or kept.model != row["model"]:
            kept = _Kept(row["model"], opening_messages(await self._store.transcripts.opening(session_id)))
        if len(kept.turns) < step - 1:
            turns = await self._store.transcripts.turns(session_id, after=len(kept.turns))
            kept.turns.extend(turn_messages(turn, kept.model) for turn in turns if turn.step < step)
        said = await self._store.interjections.of(session_id) if row["interjected"] else []
        self._kept[session_id] = kept
        while len(self._kept) > KEPT_TRANSCRIPTS:
            self._kept.popitem(last=False)
        return woven(kept.opening, kept.turns[: step - 1], [one for one in said if one.step <= step])

    def forget(self, session_id: str) -> None:
        self._kept.pop(session_id, None)


def woven(opening: Messages, turns: Sequence[Messages], said: Collection[Interjected]) -> Messages:
    """The opening, then each step's messages, with what was said to the session before the first step that saw it."""
    messages = list(opening)
    for step in range(1, len(turns) + 2):
        if blocks := _spoken(said, step):
            if messages and messages[-1]["role"] == "user":  # behind the results of tools, which must come first
                blocks = [*messages.pop()["content"], *blocks]
            messages.append({"role": "user", "content": blocks})
        messages += turns[step - 1] if step <= len(turns) else []
    return messages


def step_messages(turn: Turn, said: Collection[Interjected]) -> Messages:
    """One step by itself: what was said before it, the model's message, the results of its calls."""
    blocks = _spoken(said, turn.step)
    return [*([{"role": "user", "content": blocks}] if blocks else []), *turn_messages(turn)]


def _spoken(said: Collection[Interjected], step: int) -> list[dict[str, Any]]:
    return [_text(one.content) for one in said if one.step == step]


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content if content.strip() else "(empty)"}


def opening_messages(said: list[Said]) -> list[dict[str, Any]]:
    """Earlier messages and the user's task as alternating messages, the oldest left out when they are too long."""
    kept: list[Said] = []
    size = 0
    for one in reversed(said):
        size += len(one.content.encode())
        if kept and size > OPENING_BYTES:
            break
        kept.append(one)
    messages: list[dict[str, Any]] = []
    for one in reversed(kept):
        if not messages and one.role == "assistant":
            continue
        text = _text(one.content)
        if messages and messages[-1]["role"] == one.role:
            messages[-1]["content"].append(text)
        else:
            messages.append({"role": one.role, "content": [text]})
    return messages


def turn_messages(turn: Turn, model: str | None = None) -> list[dict[str, Any]]:
    """A step as the model's message and the message with the results of its calls (every call has one, G6). `model`:
    the one that is to read it; thoughts of another model are left out, since they are signed for that one alone."""
    foreign = model is not None and turn.model != model
    blocks = [block for block in turn.blocks if not (foreign and block["type"] in THOUGHTS)]
    if not blocks:
        return []
    messages = [{"role": "assistant", "content": blocks}]
    if turn.results:
        messages.append({"role": "user", "content": [_result_block(result) for result in turn.results]})
    return messages


def _result_block(call: CallResult) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.call_id}
    result = call.result or {"success": False, "error": {"code": "NOT_RUN", "message": _UNANSWERED}}
    text = result.get("content") or ""
    if not result["success"]:
        error = result["error"]
        said = f"{error['code']}: {error['message']}"
        text = f"{said}\n\n{text}" if text else said
        block["is_error"] = True
    block["content"] = text if text.strip() else "(no output)"
    return block
