"""The transcript as the model's messages: what was said before the session, its turns, what was said in between.

It is loaded by reference and what is written never changes, so what was read for one step is kept for the next
(bounded); a worker that has nothing kept reads it all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from session.compaction import Kept, opening_text, rendered, steps_texts
from session.context import OPENING_BYTES
from store import Store
from store.interjections import Interjected
from store.transcript import CallResult, Said, Turn

Messages = list[dict[str, Any]]
"""Messages of the provider's API, roles alternating."""

KEPT_TRANSCRIPTS = 64
THOUGHTS = ("thinking", "redacted_thinking")
_UNANSWERED = "This call has no result: the session was interrupted before it ran."


@dataclass(frozen=True, slots=True)
class View:
    """What the model is to see at a step. `counted`: tokens of the last call with its reply, 0 where there was none, or
    a summary since; `since`: bytes of what came after it. `lasting`: bytes that would stay beside a new summary;
    `opening_bytes`: of all that was said before the first step, left out or not."""

    messages: Messages
    counted: int
    lasting: int
    opening_bytes: int
    begins_with_summary: bool

    @property
    def since(self) -> int:
        return _size(self.messages[-1:])

    @property
    def replaceable(self) -> int:
        return max(0, _size(self.messages) - self.lasting)


@dataclass(slots=True)
class _Read:
    """What was read of a session, as its model may see it: `turns[k]` is step first + k. `compacted`: the newest
    compaction then."""

    model: str
    compacted: int | None
    opening: Messages
    first: int = 1
    turns: list[Messages] = field(default_factory=list)
    counted: int = 0
    lasting: int = 0
    opening_bytes: int = 0
    begins_with_summary: bool = True


class Transcript:
    """The messages of running sessions, kept between the steps of a worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, _Read] = OrderedDict()

    async def view(self, row: Mapping[str, Any], step: int) -> View:
        """What the model is to see at this step of a session's row: what was said before the session, its turns until
        then, and what was said to it meanwhile; in the place of what is compacted, its summary."""
        session_id: str = row["id"]
        read = self._kept.pop(session_id, None)
        if read is None or (read.model, read.compacted) != (row["model"], row["compacted_step"]):
            read = await self._read(row)
        known = read.first + len(read.turns)
        if known < step:
            for turn in await self._store.transcripts.turns(session_id, after=known - 1):
                if turn.step < step:
                    read.turns.append(turn_messages(turn, read.model))
                    read.counted = sum(turn.usage.values())
        said = await self._store.interjections.of(session_id) if row["interjected"] else []
        self._kept[session_id] = read
        while len(self._kept) > KEPT_TRANSCRIPTS:
            self._kept.popitem(last=False)
        spoken = [one for one in said if read.first <= one.step <= step]
        messages = woven(read.opening, read.turns[: step - read.first], spoken, read.first)
        return View(messages, read.counted, read.lasting, read.opening_bytes, read.begins_with_summary)

    async def _read(self, row: Mapping[str, Any]) -> _Read:
        if row["compacted_step"] is not None and row["compacted_step"] > 1:
            return await self._after(row)
        said, summary = await opening_of(self._store, row)
        opening = opening_messages(said, summary)
        size = sum(len(one.content.encode()) for one in said) + len((summary or "").encode())
        return _Read(
            model=row["model"],
            compacted=row["compacted_step"],
            opening=opening,
            lasting=_size(opening[-1]["content"][-1:]),
            opening_bytes=size,
            begins_with_summary=summary is not None,
        )

    async def _after(self, row: Mapping[str, Any]) -> _Read:
        """What stands in the place of all steps before the newest compaction's."""
        session_id, step = row["id"], row["compacted_step"]
        summary = (await self._store.compactions.of(session_id))[-1].summary
        task = (await self._store.transcripts.opening(session_id))[-1].content
        last = next(turn for turn in await self._store.transcripts.turns(session_id, after=step - 2))
        said = await self._store.interjections.of(session_id) if row["interjected"] else []
        spoken = [(one.step, one.content) for one in said if one.step < step]
        kept = Kept(task, spoken, rendered(turn_messages(last)))
        texts = steps_texts(summary.text, step, summary.tokens_before, kept)
        opening = [{"role": "user", "content": [_text(text) for text in texts]}]
        return _Read(row["model"], step, opening, first=step, lasting=_size(opening))

    async def before(self, row: Mapping[str, Any], step: int, view: View) -> list[str]:
        """What a summary before this step is made of, as texts: all that the model saw; before the first step what was
        said in the conversation until then, without the session's own message."""
        if step > 1:
            return rendered(view.messages)
        said, summary = await opening_of(self._store, row)
        told = [opening_text(summary)] if summary is not None else []
        return told + [f"{'User' if one.role == 'user' else 'Agent'}: {one.content}" for one in said[:-1]]

    def forget(self, session_id: str) -> None:
        self._kept.pop(session_id, None)


async def opening_of(store: Store, row: Mapping[str, Any]) -> tuple[list[Said], str | None]:
    """What a session began with: its own message last, and the summary of what was said before these, if there is one.
    Raises NotFound."""
    found = await store.compactions.opening(row)
    if found is None:
        return await store.transcripts.opening(row["id"]), None
    return await store.transcripts.opening(row["id"], found.upto_seq or 0), found.summary.text


def woven(opening: Messages, turns: Sequence[Messages], said: Collection[Interjected], first: int = 1) -> Messages:
    """The opening, then the messages of each step from `first` on, with what was said to the session before the first
    step that saw it."""
    messages = list(opening)
    for at in range(len(turns) + 1):
        if blocks := _spoken(said, first + at):
            if messages and messages[-1]["role"] == "user":  # behind the results of tools, which must come first
                blocks = [*messages.pop()["content"], *blocks]
            messages.append({"role": "user", "content": blocks})
        messages += turns[at] if at < len(turns) else []
    return messages


def step_messages(turn: Turn, said: Collection[Interjected]) -> Messages:
    """One step by itself: what was said before it, the model's message, the results of its calls."""
    blocks = _spoken(said, turn.step)
    return [*([{"role": "user", "content": blocks}] if blocks else []), *turn_messages(turn)]


def _spoken(said: Collection[Interjected], step: int) -> list[dict[str, Any]]:
    return [_text(one.content) for one in said if one.step == step]


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content if content.strip() else "(empty)"}


def opening_messages(said: list[Said], summary: str | None = None) -> list[dict[str, Any]]:
    """Earlier messages and the user's task as alternating messages, the oldest left out when they are too long.
    `summary`: of those that came before."""
    kept: list[Said] = []
    size = 0
    for one in reversed(said):
        size += len(one.content.encode())
        if kept and size > OPENING_BYTES:
            break
        kept.append(one)
    if summary is not None:
        kept.append(Said("user", opening_text(summary)))
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


def _size(messages: Messages) -> int:
    return len(to_json(messages))
