"""What a tool is, and the one way to call it.

A tool is a `ToolSpec`: a name, a description written for a model, a pydantic model of its arguments, and
an async `run`. `call` validates, runs within the tool's own time limit, and bounds what the model is
shown. A failure that the model should see is a `ToolError`; everything else that is raised is a bug or a
cancellation, and is the caller's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from activities.tools.spool import Kept
from activities.tools.text import clean, clipped
from session.masking import Masker
from session.passages import Excerpt
from session.policy import ToolPolicy
from session.resources import MemoryChunk
from session.tooling import Tool
from session.vocabulary import Effect, SecurityLevel

if TYPE_CHECKING:
    from activities.tools.jobs import Jobs

Stream = Literal["stdout", "stderr"]


class Arguments(BaseModel):
    """The arguments of a tool, named (by alias where need be) as in CONTRACT §4; any other is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ArgsT = TypeVar("ArgsT", bound=BaseModel)


class Whole(Protocol):
    """All of a long output, kept outside of memory until it is stored. `characters`: how many there were; what is
    kept of them (`pieces`, in order, bounded) may be less."""

    characters: int

    def pieces(self) -> Iterator[str]: ...
    def close(self) -> None: ...


class ToolError(Exception):
    """A failure for the model to read: a machine code, a sentence, and output to show beside it (`whole`: where that
    is only a part)."""

    def __init__(self, code: str, message: str, content: str = "", whole: Whole | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.content = content
        self.whole = whole


@dataclass(frozen=True)
class ToolOutput:
    """What a tool call came to. `truncated`: the model sees less than there was. `whole`: all of it, where the tool
    kept it; the caller closes it."""

    content: str
    truncated: bool = False
    whole: Whole | None = None


class Shelf(Protocol):
    """What tools of a session put down and take up again in later calls."""

    async def output(self, handle: str, offset: int, length: int) -> tuple[str, int] | None:
        """`length` characters of a kept output from `offset` on, and how many it has; None when there is none."""

    async def note(self, name: str) -> str | None:
        """A note of this conversation."""

    async def put_note(self, name: str, text: str) -> None:
        """Replace a note of this conversation."""


class Remembering(Protocol):
    """What is remembered, for tools of a session."""

    async def search(self, query: str, limit: int, min_score: float) -> tuple[list[MemoryChunk], int]:
        """The best passages, and how many there were in all."""

    async def excerpt(self, path: str, start_line: int, count: int) -> Excerpt:
        """Lines of a file. Raises ToolError NOT_FOUND."""

    async def note(self, content: str) -> Excerpt:
        """Add to this conversation's note, and give what was added. Raises ToolError TOO_LARGE."""


@dataclass(frozen=True)
class ToolContext:
    """What a call may touch.

    `workspace` is the session's folder (made when missing). `progress` is called on the event loop, must not block and
    must not raise; what it gets is masked. `secrets` are names of environment variables that no command may see, over
    and above the allow-list in `environment.py`. `sandbox_only`: commands run inside the sandbox or not at all.
    `deadline_ms`: when the session ends at the latest (Unix ms).
    """

    workspace: Path
    progress: Callable[[Stream, str], None] = lambda _stream, _text: None
    secrets: tuple[str, ...] = ()
    session_id: str = ""
    call_id: str = ""
    deadline_ms: int = 0
    sandbox_only: bool = False
    policy: ToolPolicy = field(default_factory=ToolPolicy)
    masker: Masker = field(default_factory=Masker)
    jobs: Jobs | None = None
    shelf: Shelf | None = None
    memory: Remembering | None = None


@dataclass(frozen=True)
class ToolSpec(Generic[ArgsT]):
    """A tool as model, API and workflow see it. `timeout` is in seconds, `output_cap` in characters.

    `subject` names the argument that patterns such as `exec(git *)` are held against. `runs_commands`: it
    starts programs, so where a session is confined to the sandbox, it runs there. `quick`: it is over within moments
    (a bounded piece of the workspace or of the store; no program, no network); without `in_workspace` it does not even
    touch the workspace. `effect_of` tells the effect where it
    depends on the (unchecked) arguments.
    """

    name: str
    description: str
    arguments: type[ArgsT]
    security_level: SecurityLevel
    effect: Effect
    timeout: float
    output_cap: int
    run: Callable[[ArgsT, ToolContext], Awaitable[ToolOutput]]
    subject: str | None = None
    runs_commands: bool = False
    quick: bool = False
    in_workspace: bool = True
    effect_of: Callable[[Mapping[str, Any]], Effect] | None = None
    schema: Mapping[str, Any] | None = None
    """The JSON schema of the arguments where `arguments` does not tell it; then `run` checks them itself."""

    def tool(self) -> Tool:
        """What is offered to a model and listed by the API."""
        return Tool(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema(),
            security_level=self.security_level,
            effect=self.effect,
            subject=self.subject,
            runs_commands=self.runs_commands,
        )

    def input_schema(self) -> dict[str, Any]:
        """The arguments as a plain JSON schema: one object, nothing by reference, no generated titles."""
        if self.schema is not None:
            return dict(self.schema)
        schema = self.arguments.model_json_schema(by_alias=True)
        tidy: dict[str, Any] = _tidied(schema, schema.get("$defs", {}))
        tidy.pop("description", None)  # the model's docstring; the tool has its own description
        return tidy


async def call(spec: ToolSpec[ArgsT], arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
    """Run one tool call to its end.

    Raises `ToolError` for what the model should know (INVALID_ARGUMENTS, TIMEOUT, and the tool's own
    codes). When it returns, raises or is cancelled, nothing that the call started is left running, but for jobs that
    it was asked to start. What is shown is masked; where it is less than there was, output or error have all of it as
    `whole`, which the caller closes.
    """
    checked = parsed(spec, arguments)
    limit = asyncio.timeout(spec.timeout)
    try:
        async with limit:
            output = await spec.run(checked, context)
    except ToolError as error:
        told = context.masker.mask(clean(error.message))
        shown, _, whole = _shown(error.content, error.whole, spec.output_cap, context)
        raise ToolError(error.code, told, shown, whole) from error
    except OSError as error:
        # asyncio's own TimeoutError is an OSError too; a system call that timed out is not the tool's limit.
        if limit.expired():
            raise ToolError("TIMEOUT", f"{spec.name} was stopped after {spec.timeout:g} s") from error
        raise ToolError("IO_ERROR", f"{spec.name} failed: {error.strerror or error}") from error
    shown, cut, whole = _shown(output.content, output.whole, spec.output_cap, context)
    return ToolOutput(shown, output.truncated or cut, whole)


def _shown(text: str, whole: Whole | None, cap: int, context: ToolContext) -> tuple[str, bool, Whole | None]:
    """What of a text the model sees, masked and within `cap`; whether that is less than there was; and all of it."""
    text = context.masker.mask(clean(text))
    if len(text) <= cap:
        return text, False, whole
    shown, _ = clipped(text, cap, context.call_id)
    return shown, True, whole or Kept(text)


def parsed(spec: ToolSpec[ArgsT], arguments: Mapping[str, Any]) -> ArgsT:
    """The arguments as the tool takes them. Raises `ToolError` INVALID_ARGUMENTS, which names the fields."""
    try:
        # Half a surrogate pair is legal in JSON, but is no text that could be written or stored.
        json.dumps(arguments, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        told = "an argument has half a surrogate pair (U+D800 to U+DFFF), which is not valid text"
        raise ToolError("INVALID_ARGUMENTS", told) from error
    try:
        return spec.arguments.model_validate(arguments)
    except ValidationError as error:
        known = ", ".join(field.alias or name for name, field in spec.arguments.model_fields.items())
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(_told(spec.name, known, fault["type"], fault["loc"], fault["msg"]) for fault in faults[:8])
        raise ToolError("INVALID_ARGUMENTS", f"Call {spec.name} again with other arguments: {told}.") from error


def _told(tool: str, known: str, kind: str, location: tuple[int | str, ...], message: str) -> str:
    field = ".".join(str(part) for part in location)[:100]
    if kind == "missing":
        return f"`{field}` is missing, it is required"
    if kind == "extra_forbidden":
        return f"`{field}` is not an argument of {tool}, leave it out (its arguments: {known})"
    return f"`{field}`: {message}" if field else f"{message} (an object with: {known})"


def _tidied(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_tidied(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = {**definitions[node["$ref"].rsplit("/", 1)[-1]]}
        target.pop("description", None)  # its docstring, written for readers of the code
        return _tidied({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:  # optional: the model leaves it out, it need not know that null would do as well
        rest = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
        return _tidied({**choices[0], **rest}, definitions)
    tidy = {key: _tidied(value, definitions) for key, value in node.items() if key not in ("title", "$defs")}
    if "properties" in node:  # a property may well be called "title"
        tidy["properties"] = {name: _tidied(value, definitions) for name, value in node["properties"].items()}
    return tidy
