"""Sessions drawn by a seed: what the model says and calls, under which rules, and what the client does meanwhile.

Every call that leaves a mark leaves it where no other call does: `write_file` appends to a file of its own, `exec` adds
a line of its own. So what ran, and how often, can be told from the files alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from session.vocabulary import CancelMode, SecurityMode
from tests.survival.bold_model import UNDECLARED
from tests.survival.scripts import LINES, mark, task

Json = dict[str, Any]
Habit = Literal["allow", "deny", "mixed", "ignore", "cancel"]
"""What the client does with approvals."""

MODES: Final[tuple[SecurityMode, ...]] = ("deny", "sandbox", "allowlist", "ask", "full")
HABITS: Final[tuple[Habit, ...]] = ("allow", "deny", "mixed", "mixed", "ignore", "cancel")
PERMITTED: Final = "a"
"""With PATTERNS, of the files in `out/` only those may be written whose name begins with this."""
PATTERNS: Final = [f"write_file(out/{PERMITTED}*)", "exec(echo *)", "read_file", "directory_tree", "search_files"]
MOST_SECONDS: Final = 60
_MODEL_FAULTS: Final[tuple[list[Json], ...]] = (
    [{"kind": "status", "code": 529}],
    [{"kind": "status", "code": 429, "retry_after": 0.3}],
    [{"kind": "cut", "after_deltas": 1}],
    [{"kind": "clean_cut", "after_deltas": 2}],
    [{"kind": "error_event", "after_deltas": 1}, {"kind": "status", "code": 529}],
)


@dataclass(frozen=True)
class Drawn:
    """One session as it was drawn. `cancel`: how, and after how many seconds; None: never."""

    number: int
    body: Json
    mode: SecurityMode
    allowed: list[str] | None
    habit: Habit
    seconds: int
    cancel: tuple[CancelMode, float] | None
    chance: random.Random = field(compare=False)

    def may_run_commands(self) -> bool:
        """The same of `exec`: each line here redirects into a file, which no pattern of PATTERNS permits."""
        return self.mode not in ("deny", "allowlist") and self.allowed is None

    def may_write(self, path: str) -> bool:
        """Whether the rules let `write_file` run here, with an approval where the mode asks for one: the table of
        session modes said once more, for these calls alone."""
        if self.mode in ("deny", "sandbox") or (self.mode == "allowlist" and self.allowed is None):
            return False
        return self.allowed is None or (bool(self.allowed) and path.startswith(f"out/{PERMITTED}"))


def draw(seed: int, number: int, sleep: str) -> Drawn:
    """The session of this number. `sleep`: digits that are in every sleep's argument and in no other process's."""
    chance = random.Random(f"{seed}/{number}")
    mode = MODES[number % len(MODES)]
    allowed = _allowed(chance, mode)
    habit = chance.choice(HABITS)
    ignored = mode == "ask" and habit == "ignore"
    hurried = ignored or chance.random() < 0.06
    seconds = chance.randint(2, 4) if hurried else MOST_SECONDS
    cancel = _cancel(chance) if chance.random() < 0.15 else None
    turns = _Turns(chance, number, sleep, silent=allowed == []).made()
    body: Json = {"content": task(turns), "securityMode": mode, "timeoutSeconds": seconds}
    if allowed is not None:
        body["allowedTools"] = allowed
    return Drawn(number, body, mode, allowed, habit, seconds, cancel, chance)


def _allowed(chance: random.Random, mode: SecurityMode) -> list[str] | None:
    patterns = 0.8 if mode == "allowlist" else 0.4
    at = chance.random()
    return PATTERNS if at < patterns else [] if at < patterns + 0.04 else None


def _cancel(chance: random.Random) -> tuple[CancelMode, float]:
    modes: tuple[CancelMode, ...] = ("now", "graceful")
    return chance.choice(modes), chance.uniform(0.0, 2.0)


class _Turns:
    def __init__(self, chance: random.Random, number: int, sleep: str, *, silent: bool) -> None:
        self._chance = chance
        self._number = number
        self._sleep = sleep
        self._silent = silent
        self._calls = 0

    def made(self) -> list[Json]:
        turns = [self._turn() for _ in range(self._chance.randint(1, 4))]
        if self._chance.random() < 0.4 and not self._silent:
            turns.append({"tools": [{"name": "complete_task", "input": {"summary": "All is done."}}]})
        return turns

    def _turn(self) -> Json:
        chance = self._chance
        turn: Json = {"chunk_chars": chance.choice((4, 12, 24)), "token_ms": chance.choice((0, 0, 5, 15))}
        if chance.random() < 0.4:
            turn["thinking"] = "I think of what to do next, and then of what comes after it. "
        if chance.random() < 0.5 or self._silent:
            turn["text"] = "I go on with it, a little at a time. "
        if self._silent:
            return turn
        count = chance.choice((1, 1, 1, 2, 2, 3, 4, 6))
        turn["tools"] = [self._call() for _ in range(count)]
        if chance.random() < 0.12:
            turn |= {"stop_reason": "max_tokens", "faults": [{"kind": "bad_tool_json"}]}
            turn["tools"].append(self._write())
        elif chance.random() < 0.15:
            turn["faults"] = chance.choice(_MODEL_FAULTS)
        return turn

    def _call(self) -> Json:
        kinds: list[tuple[Callable[[], Json], float]] = [
            (self._write, 38),
            (self._command, 10),
            (self._failing, 4),
            (self._reading, 14),
            (self._missing, 10),
            (self._unknown, 8),
            (self._invalid, 16),
        ]
        made, weights = zip(*kinds, strict=True)
        call: Callable[[], Json] = self._chance.choices(made, weights)[0]
        return call()

    def _name(self) -> str:
        self._calls += 1
        return f"{self._chance.choice((PERMITTED, 'b'))}{self._number}-{self._calls}"

    def _write(self) -> Json:
        name = self._name()
        return {"name": "write_file", "input": {"path": f"out/{name}.txt", "content": f"{name}\n", "append": True}}

    def _command(self) -> Json:
        return mark(self._name(), f"0.{self._chance.randint(0, 3)}{self._sleep}")

    def _failing(self) -> Json:
        return {"name": "exec", "input": {"command": f"echo {self._name()} >> {LINES}; exit 3"}}

    def _reading(self) -> Json:
        look: Json = {"name": "search_files", "input": {"pattern": f"**/*{self._name()}*"}}
        return self._chance.choice((look, {"name": "directory_tree", "input": {}}))

    def _missing(self) -> Json:
        return {"name": "read_file", "input": {"path": f"missing/{self._name()}.txt"}}

    def _unknown(self) -> Json:
        path = f"out/{self._name()}.txt"
        return {
            "name": self._chance.choice(sorted(UNDECLARED)),
            "input": {"path": path, "content": "x", "pattern": "x"},
        }

    def _invalid(self) -> Json:
        """Wrong types, missing fields, fields that nobody knows."""
        path, line = f"out/{self._name()}.txt", f"echo {self._name()} >> {LINES}"
        wrong: tuple[Json, ...] = (
            {"name": "write_file", "input": {"path": path, "content": ["x"]}},
            {"name": "write_file", "input": {"path": 7, "content": "x"}},
            {"name": "write_file", "input": {"path": {"in": path}, "content": None}},
            {"name": "write_file", "input": {"path": path}},
            {"name": "write_file", "input": {"path": path, "content": "x", "mode": "0777"}},
            {"name": "write_file", "input": {}},
            {"name": "read_file", "input": {"path": None}},
            {"name": "exec", "input": {"command": line, "shell": "zsh"}},
            {"name": "exec", "input": {"command": line, "timeout": "soon"}},
            {"name": "search_files", "input": {"pattern": [path]}},
        )
        return self._chance.choice(wrong)
