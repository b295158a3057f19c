"""What the fake model says: a Script is a list of Turns, one for each model call after the user's message.

A user's message chooses it: a fenced block of kind `script` that holds its JSON, or `#script NAME`, or else the demo.
The turn is the number of assistant messages after that message, so it follows from the transcript: a retry gets the
same turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from fake_model import demo
from fake_model.faults import BadToolJson, Fault, Frozen, JsonObject
from fake_model.refusal import Refused
from fake_model.summing import NAME

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"]
_INLINE = re.compile(r"```script[ \t]*\n(.*?)\n?```", re.DOTALL)
_NAMED = re.compile(r"(?:^|\s)#script[ \t]+([\w.-]+)")


class ToolUse(Frozen):
    name: str
    input: JsonObject = Field(default_factory=dict)


class Turn(Frozen):
    """One reply. In its strings `{n}` stands for the number of the reply, from 1, `{facts}` for the
    facts that its request has (fake_model.summing).

    `text_tokens` adds so many deltas of filler text. `timestamps` makes every text delta `<time.time_ns()>|`, taken
    just before it is written. `faults[k]` meets the session's k-th request for this turn, from 0 (null: none); later
    ones are served.
    """

    thinking: str | None = None
    text: str | None = None
    tools: tuple[ToolUse, ...] = ()
    stop_reason: StopReason | None = None
    first_token_ms: float = Field(default=0, ge=0)
    token_ms: float = Field(default=0, ge=0)
    chunk_chars: int = Field(default=24, ge=1)
    text_tokens: int = Field(default=0, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    timestamps: bool = False
    faults: tuple[Fault | None, ...] = ()
    times: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Turn:
        if not self.tools and any(isinstance(fault, BadToolJson) for fault in self.faults):
            raise ValueError("bad_tool_json needs a turn with tools")
        return self

    @property
    def reason(self) -> StopReason:
        return self.stop_reason or ("tool_use" if self.tools else "end_turn")

    def filled(self, number: int, facts: Sequence[str]) -> Turn:
        """This turn with its number in place of `{n}`, and the facts in place of `{facts}`."""
        known = {"{n}": str(number), "{facts}": "\n".join(f"FACT: {fact}" for fact in facts)}
        spoken = {"thinking": self.thinking, "text": self.text}
        filled: dict[str, Any] = {key: _fill(value, known) for key, value in spoken.items()}
        filled["tools"] = tuple(ToolUse(name=tool.name, input=_fill(tool.input, known)) for tool in self.tools)
        return self.model_copy(update=filled)


class Script(Frozen):
    """`loop`: start over when the turns run out. Otherwise what comes after the last is `then_text` and the end."""

    name: str = "inline"
    turns: tuple[Turn, ...] = ()
    loop: bool = False
    then_text: str = "Done."

    def turn(self, index: int, facts: Sequence[str] = ()) -> Turn:
        """The turn of this index, from 0. `facts`: those that the request has."""
        total = sum(turn.times for turn in self.turns)
        left = index % total if self.loop and total else index
        for turn in self.turns:
            if left < turn.times:
                return turn.filled(index + 1, facts)
            left -= turn.times
        return Turn(text=self.then_text)


def _fill(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for place, text in known.items():
            value = value.replace(place, text)
        return value
    if isinstance(value, dict):
        return {key: _fill(part, known) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fill(part, known) for part in value]
    return value


class Scripts:
    """The scripts that were registered by name, and the choice among them."""

    def __init__(self, *scripts: Script) -> None:
        self._named = {script.name: script for script in scripts}

    def add(self, script: Script) -> None:
        self._named[script.name] = script

    def summing(self) -> Script:
        """The script of requests for a summary."""
        return self._named.get(NAME) or _SUMMING

    def choose(self, message: str, tools: frozenset[str]) -> Script:
        """The script that the user's message asks for.

        Raises:
            Refused: it is not a script, or there is none of this name.
        """
        if inline := _INLINE.search(message):
            return _parse(inline[1])
        named = _NAMED.search(message)
        if named is None:
            return _demo(message, tools)
        found = self._named.get(named[1])
        if found is None and named[1] != "demo":
            raise Refused(f"#script: there is no script named {named[1]!r}")
        return found or _demo(message, tools)


_SUMMING = Script(name=NAME, turns=(Turn(text="A summary.\n{facts}"),), loop=True)


@lru_cache(maxsize=256)
def _parse(text: str) -> Script:
    try:
        return Script.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("script", *first["loc"]))
        raise Refused(f"{place}: {first['msg']}") from None


@lru_cache(maxsize=256)
def _demo(task: str, tools: frozenset[str]) -> Script:
    return Script.model_validate(demo.script_for(task, tools))
