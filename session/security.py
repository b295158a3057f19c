"""Security modes: may this call run (CONTRACT §2, `securityMode`)? A pure rule; a refusal goes to the model.

    deny       no tool runs
    sandbox    what only reads or touches nothing but the session runs; what starts programs runs inside the sandbox
    allowlist  what `allowedTools` names runs
    ask        what is safe runs, and what was allowed always in this conversation; the rest waits for an approval
    full       everything runs

In every mode `allowedTools`, where it is given, limits what is offered and what runs. `complete_task` ends the session
and is refused by `deny` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from session.patterns import names, permits
from session.tooling import Tool
from session.vocabulary import COMPLETE_TASK, Effect, Gate, SecurityMode


@dataclass(frozen=True, slots=True)
class Rules:
    """What a session may do. `allowed`: its `allowedTools`; `granted`: what was allowed always in its conversation."""

    mode: SecurityMode
    allowed: Collection[str] | None = None
    granted: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` is a sentence for the model; empty unless the call is refused."""

    gate: Gate
    why: str = ""


RUN = Verdict("run")
ASK = Verdict("ask")


def is_offered(name: str, allowed: Collection[str] | None) -> bool:
    """Whether a model is told of the tool: all, or those that the session names and the one that ends it; none for an
    empty list."""
    if allowed is None:
        return True
    return bool(allowed) and (name == COMPLETE_TASK or any(names(pattern, name) for pattern in allowed))


def judge(rules: Rules, tool: Tool, effect: Effect, arguments: Mapping[str, Any]) -> Verdict:
    """Whether the call runs, waits for an approval, or is refused."""
    name = tool.name
    if rules.mode == "deny":
        return Verdict("refuse", f"{name} was not run: this session runs no tools (securityMode deny).")
    if name == COMPLETE_TASK:
        return RUN
    limited = rules.allowed if rules.allowed is not None or rules.mode != "allowlist" else ()
    if limited is not None and not permits(limited, tool, arguments):
        return Verdict(
            "refuse",
            f"{name} was not run: this call is not among the session's allowedTools (securityMode {rules.mode}).",
        )
    if rules.mode == "sandbox" and not (effect == "readOnly" or tool.security_level == "safe" or tool.runs_commands):
        return Verdict(
            "refuse",
            f"{name} was not run: this session only reads, or runs commands inside the sandbox (securityMode sandbox).",
        )
    if rules.mode == "ask" and tool.security_level != "safe" and not permits(rules.granted, tool, arguments):
        return ASK
    return RUN
