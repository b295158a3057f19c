"""A tool as it is offered: what a model is told of it, and what the security modes need to know."""

from typing import Any

from session.model import Published
from session.vocabulary import Effect, SecurityLevel


class Tool(Published):
    """Fixed for a session at its first step, so that the model's prompt does not change under it.

    `subject` names the argument that patterns such as `exec(git *)` are held against; `runs_commands` says that it
    starts programs, which a session confined to the sandbox lets run only there.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    security_level: SecurityLevel
    effect: Effect
    subject: str | None = None
    runs_commands: bool = False
