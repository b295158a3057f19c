"""What becomes of a call that the model asked for: its effect, whether it may run, and how its arguments may be shown.

Decided once, when the reply is recorded, by the session's rules over the tools it was offered; `run_tool` and the
workflow only follow. A tool that the session was not offered, and a call that the model's own output limit cut off, are
refused with a sentence for the model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from activities.catalog import Catalog
from activities.reply import DEEPEST, digest
from activities.results import offered_with, schema_of
from activities.tools.spec import ToolSpec
from session.events import ResultError
from session.masking import Masker
from session.security import Rules, is_offered, judge
from session.tooling import Tool
from session.vocabulary import Effect
from session.wire import CallRef
from store import Store
from store.replies import NewCall

logger = logging.getLogger("perdure.tools")

MAX_NAMED = 40
_CUT = ResultError(
    code="OUTPUT_LIMIT",
    message="The call was cut off by the model's own output limit, so it was not run. Make a smaller call: write long"
    " content in several parts.",
)

_DEEP = ResultError(
    code="INVALID_ARGUMENTS",
    message=f"The arguments are nested more than {DEEPEST} levels deep, so the call was not run. Make them flatter.",
)


class Offers:
    """The tools that sessions are offered: each keeps the set that its first worker had (G6, DESIGN §3)."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self.catalog = catalog
        self._known: dict[str, dict[str, Tool]] = {}
        self._specs: list[ToolSpec[Any]] = []
        self._published = ""

    async def current(self) -> str:
        """The digest of what this worker offers now; published when it has changed."""
        specs = list(self.catalog.specs().values())
        if specs != self._specs:  # making the schemas anew would be a fifth of a step's CPU
            tools = [spec.tool() for spec in specs]
            self._published = await self._store.toolsets.publish(tools)
            self._known[self._published] = {tool.name: tool for tool in tools}
            self._specs = specs
        return self._published

    async def of(self, row: Mapping[str, Any]) -> dict[str, Tool]:
        """The tools that a session was offered at its first step, by name. `row`: the session's."""
        kept: str = row["toolset"] or await self.current()
        if kept not in self._known:
            stored = await self._store.toolsets.get(kept) or self.catalog.tools()
            self._known[kept] = {tool.name: tool for tool in stored}
        allowed = json.loads(row["settings"])["allowedTools"]
        tools = {name: tool for name, tool in self._known[kept].items() if is_offered(name, allowed)}
        schema = schema_of(row)
        return tools if schema is None else offered_with(schema, tools)


async def rules_of(row: Mapping[str, Any], store: Store) -> Rules:
    """The rules of a session's row."""
    mode = row["security_mode"]
    allowed = json.loads(row["settings"])["allowedTools"]
    granted = await store.approvals.granted(row["conversation_id"]) if mode == "ask" else ()
    return Rules(mode, None if allowed is None else tuple(allowed), granted)


@dataclass(frozen=True)
class Judging:
    """Turns the calls of one reply into what is recorded of them."""

    rules: Rules
    tools: Mapping[str, Tool]
    catalog: Catalog
    masker: Masker
    cut: Collection[str] = ()
    """Ids of the calls that the model's output limit cut off."""
    deep: Collection[str] = ()
    """Ids of the calls whose arguments were left out, too deep to be read."""

    def call(self, call_id: str, name: str, arguments: dict[str, Any]) -> NewCall:
        masked = self.masker.value(arguments)
        shown = None if masked == arguments else masked
        tool = self.tools.get(name)
        if tool is None:
            # What does not exist reads nothing and harms nothing: it only gets an error as its result.
            ref = CallRef(call_id, name, "readOnly", digest(name, arguments), "refuse", quick=True, anywhere=True)
            return NewCall(ref, arguments, "safe", shown, self._unknown(name))
        spec = self.catalog.spec(tool.name)
        effect = _effect(tool, spec, arguments)
        verdict = judge(self.rules, tool, effect, arguments)
        refusal = ResultError(code="REFUSED", message=verdict.why) if verdict.gate == "refuse" else None
        if call_id in self.cut:
            refusal = _CUT
        elif call_id in self.deep:
            refusal = _DEEP
        gate = "refuse" if refusal is not None else verdict.gate
        quick = gate == "refuse" or (spec is not None and spec.quick)
        anywhere = gate == "refuse" or (spec is not None and spec.quick and not spec.in_workspace)
        ref = CallRef(call_id, name, effect, digest(name, arguments), gate, quick=quick, anywhere=anywhere)
        return NewCall(ref, arguments, tool.security_level, shown, refusal)

    def _unknown(self, name: str) -> ResultError:
        names = sorted(self.tools)
        listed = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
        return ResultError(code="UNKNOWN_TOOL", message=f"there is no tool {name[:100]!r}; the tools are {listed}")


def _effect(tool: Tool, spec: ToolSpec[Any] | None, arguments: dict[str, Any]) -> Effect:
    if spec is None or spec.effect_of is None:
        return tool.effect
    try:
        found = spec.effect_of(arguments)
    except Exception:  # arguments are unchecked here; raised, it would have the reply bought again, for ever
        logger.exception("effect_of of the tool %s failed", tool.name)
        return "sideEffect"
    return found if found in get_args(Effect) else "sideEffect"
