"""Claims about security modes: which calls may run (CONTRACT §2)."""

from itertools import product

import pytest

from session.security import refusal
from session.vocabulary import Effect, SecurityLevel, SecurityMode

EFFECTS: tuple[Effect, ...] = ("readOnly", "idempotent", "sideEffect")
LEVELS: tuple[SecurityLevel, ...] = ("safe", "moderate", "dangerous")


def runs(mode: SecurityMode, name: str, level: SecurityLevel, effect: Effect, allowed: list[str] | None) -> bool:
    return refusal(mode, name, level, effect, allowed) is None


@pytest.mark.parametrize(("level", "effect"), list(product(LEVELS, EFFECTS)))
def test_each_mode_lets_through_what_it_says(level: SecurityLevel, effect: Effect) -> None:
    assert runs("full", "exec", level, effect, None)
    assert not runs("deny", "exec", level, effect, ["exec"])
    assert runs("sandbox", "exec", level, effect, None) == (effect == "readOnly")
    assert runs("ask", "exec", level, effect, None) == (level == "safe")
    assert runs("allowlist", "exec", level, effect, ["exec"])
    assert not runs("allowlist", "exec", level, effect, ["grep"])
    assert not runs("allowlist", "exec", level, effect, None)


def test_a_sandboxed_session_may_still_say_that_it_is_done() -> None:
    assert runs("sandbox", "complete_task", "safe", "idempotent", None)
    assert not runs("sandbox", "write_file", "safe", "idempotent", None)


@pytest.mark.parametrize("mode", ["deny", "sandbox", "allowlist", "ask"])
def test_a_refusal_names_the_tool_and_the_mode(mode: SecurityMode) -> None:
    said = refusal(mode, "exec", "dangerous", "sideEffect", [])
    assert said is not None
    assert "exec" in said
    assert mode in said
