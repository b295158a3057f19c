"""Claims about security modes: which calls may run (CONTRACT §2)."""

from itertools import product

import pytest

from session.security import Rules, judge
from session.tooling import Tool
from session.vocabulary import Effect, Gate, SecurityLevel, SecurityMode

EFFECTS: tuple[Effect, ...] = ("readOnly", "idempotent", "sideEffect")
LEVELS: tuple[SecurityLevel, ...] = ("safe", "moderate", "dangerous")


def tool(
    name: str = "write_file",
    level: SecurityLevel = "moderate",
    effect: Effect = "sideEffect",
    subject: str | None = "path",
    runs_commands: bool = False,
) -> Tool:
    return Tool(
        name=name,
        description="",
        input_schema={},
        security_level=level,
        effect=effect,
        subject=subject,
        runs_commands=runs_commands,
    )


EXEC = tool("exec", "dangerous", subject="command", runs_commands=True)


def gate(mode: SecurityMode, what: Tool, allowed: list[str] | None = None, granted: list[str] | None = None) -> Gate:
    return judge(
        Rules(mode, allowed, granted or ()), what, what.effect, {"path": "src/a.py", "command": "git log"}
    ).gate


@pytest.mark.parametrize(("level", "effect"), list(product(LEVELS, EFFECTS)))
def test_each_mode_lets_through_what_it_says(level: SecurityLevel, effect: Effect) -> None:
    what = tool(level=level, effect=effect)
    assert gate("full", what) == "run"
    assert gate("deny", what, ["write_file"]) == "refuse"
    assert gate("sandbox", what) == ("run" if effect == "readOnly" or level == "safe" else "refuse")
    assert gate("ask", what) == ("run" if level == "safe" else "ask")
    assert gate("allowlist", what, ["write_file"]) == "run"
    assert gate("allowlist", what, ["grep"]) == "refuse"
    assert gate("allowlist", what) == "refuse"


def test_commands_of_a_sandboxed_session_run_since_they_run_inside_the_sandbox() -> None:
    assert gate("sandbox", EXEC) == "run"


@pytest.mark.parametrize("mode", ["sandbox", "allowlist", "ask", "full"])
def test_any_session_but_a_denied_one_may_say_that_it_is_done(mode: SecurityMode) -> None:
    done = tool("complete_task", "safe", "idempotent", None)
    assert gate(mode, done, []) == "run"
    assert gate("deny", done) == "refuse"


@pytest.mark.parametrize("mode", ["sandbox", "allowlist", "ask", "full"])
def test_allowed_tools_limit_every_mode_down_to_the_arguments(mode: SecurityMode) -> None:
    assert gate(mode, EXEC, ["exec(npm *)"]) == "refuse"
    assert gate(mode, EXEC, ["exec(git *)"]) == ("ask" if mode == "ask" else "run")


def test_what_was_allowed_always_is_not_asked_again() -> None:
    assert gate("ask", EXEC, granted=["exec(git log *)"]) == "run"
    assert gate("ask", EXEC, granted=["exec(git push *)"]) == "ask"
    assert gate("ask", tool(), granted=["exec(git log *)"]) == "ask"


@pytest.mark.parametrize("mode", ["deny", "sandbox", "allowlist"])
def test_a_refusal_names_the_tool_and_what_refused_it(mode: SecurityMode) -> None:
    said = judge(Rules(mode), tool(), "sideEffect", {}).why
    assert "write_file" in said
    assert f"securityMode {mode}" in said
