"""An MCP server's tools as tools of ours: their names, what their hints mean here, and their results as text.

Hints are the server's word. They are followed, since the operator chose the server: a tool that calls itself read-only
runs where reading is allowed, and is called again when nobody knows what came of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from mcp import types
from pydantic import RootModel

from activities.mcp.failures import Lost, Refused, Unavailable
from activities.mcp.schemas import Unusable, checker, shown
from activities.tools.spec import ToolContext, ToolError, ToolOutput, ToolSpec
from session.vocabulary import Effect, SecurityLevel

logger = logging.getLogger("perdure.mcp")

NAME_LENGTH: Final = 64
OUTPUT_CAP: Final = 50_000
DESCRIPTION_CAP: Final = 8_000
SENTENCE: Final = 2_000
"""A failure told in more characters is output, and no message."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")

Call = Callable[[str, dict[str, Any], Callable[[str], None]], Awaitable[types.CallToolResult]]
"""`Connection.call`: the tool's own name, its arguments, and who hears of progress."""


class Anything(RootModel[dict[str, Any]]):
    """Arguments that a JSON schema tells the rules of."""


def specs_of(server: str, timeout: float, tools: Sequence[types.Tool], call: Call) -> list[ToolSpec[Any]]:
    """A spec for each tool, by name. What no model could be offered is logged and left out."""
    found: list[ToolSpec[Any]] = []
    distinct = {tool.name: tool for tool in reversed(tools)}  # the first of a name counts
    for name, tool in sorted(_names(server, distinct).items()):
        try:
            found.append(_spec(server, timeout, name, distinct[tool], call))
        except Unusable as error:
            logger.warning("the tool %s of the MCP server %s is left out: %s", tool[:100], server, error)
    return found


def _names(server: str, tools: Mapping[str, types.Tool]) -> dict[str, str]:
    """Our name of each tool to its own. A name is cut and marked with a hash where it would be too long, or where two
    would be the same; which of them comes first changes nothing."""
    plain = {tool: f"{server}__{_NOT_IN_NAMES.sub('_', tool)}" for tool in tools}
    shared = Counter(plain.values())
    names = {}
    for tool, name in plain.items():
        alone = name == f"{server}__{tool}" or shared[name] == 1
        fits = alone and len(name) <= NAME_LENGTH
        names[name if fits else f"{name[: NAME_LENGTH - 9]}_{_mark(tool)}"] = tool
    return names


def _mark(tool: str) -> str:
    return hashlib.sha256(tool.encode(errors="surrogatepass")).hexdigest()[:8]


def _spec(server: str, timeout: float, name: str, tool: types.Tool, call: Call) -> ToolSpec[Anything]:
    effect, level = judged(tool.annotations)
    told = tool.description or tool.title or f"The tool {tool.name} of the MCP server {server}."
    return ToolSpec(
        name=name,
        description=told[:DESCRIPTION_CAP],
        arguments=Anything,
        schema=shown(tool.input_schema),
        security_level=level,
        effect=effect,
        timeout=timeout,
        output_cap=OUTPUT_CAP,
        run=_run(server, name, tool, effect != "sideEffect", call),
    )


def judged(hints: types.ToolAnnotations | None) -> tuple[Effect, SecurityLevel]:
    """What a tool's hints make of it; without any it is dangerous, as the protocol has it."""
    if hints is None:
        return "sideEffect", "dangerous"
    if hints.read_only_hint:
        return "readOnly", "safe"
    return (
        "idempotent" if hints.idempotent_hint else "sideEffect",
        "moderate" if hints.destructive_hint is False else "dangerous",
    )


def _run(
    server: str, name: str, tool: types.Tool, again: bool, call: Call
) -> Callable[[Anything, ToolContext], Awaitable[ToolOutput]]:
    check = checker(tool.input_schema)

    async def run(given: Anything, context: ToolContext) -> ToolOutput:
        if faults := check(given.root):
            raise ToolError("INVALID_ARGUMENTS", f"Call {name} again with other arguments: {'; '.join(faults)}.")

        def heard(text: str) -> None:
            context.progress("stdout", context.masker.mask(text))

        try:
            try:
                result = await call(tool.name, given.root, heard)
            except Lost:
                if not again:
                    raise
                result = await call(tool.name, given.root, heard)
        except Lost:
            told = f"the connection to the MCP server {server} ended while {tool.name} ran"
            fate = (
                "it was tried twice; to call it again does no harm" if again else "whether it did its work is unknown"
            )
            raise ToolError("MCP_SERVER_LOST", f"{told}; {fate}") from None
        except Unavailable as error:
            told = f"there is no connection to the MCP server {server} ({error}); nothing was done"
            raise ToolError("MCP_SERVER_UNAVAILABLE", told) from None
        except Refused as error:
            raise _failed(str(error)) from None
        text = as_text(result)
        if result.is_error:
            raise _failed(text)
        return ToolOutput(text)

    return run


def _failed(told: str) -> ToolError:
    if len(told) <= SENTENCE:
        return ToolError("MCP_ERROR", told or "the tool failed and said nothing")
    return ToolError("MCP_ERROR", "the tool failed, see what it said", told)


def as_text(result: types.CallToolResult) -> str:
    """What a model reads of a result: its text, the structured content where there is none, and a line for everything
    that is no text."""
    said = [text for block in result.content if (text := _said(block))]
    if result.structured_content is not None and not any(block.type == "text" for block in result.content):
        said.append(json.dumps(result.structured_content, ensure_ascii=False, default=str))
    return "\n".join(said)


def _said(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ImageContent | types.AudioContent):
        return f"[{block.type}: {block.mime_type}, {_bytes(block.data):,} bytes, not shown]"
    if isinstance(block, types.ResourceLink):
        size = "" if block.size is None else f", {block.size:,} bytes"
        return f"[resource: {block.uri}, {block.mime_type or 'unknown type'}{size}]"
    resource = block.resource
    kind = resource.mime_type or "unknown type"
    if isinstance(resource, types.TextResourceContents):
        return f"[resource: {resource.uri}, {kind}, {len(resource.text):,} characters]\n{resource.text}"
    return f"[resource: {resource.uri}, {kind}, {_bytes(resource.blob):,} bytes, not shown]"


def _bytes(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4
