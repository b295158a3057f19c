"""The live tail of one session: what a reader who joins now must still be told beyond the facts (CONTRACT §3).

Rules: a delta's id is `<offset of the last fact>.<n>`, given in the order in which deltas and facts arrive here. The
tail keeps the deltas of the step now running, bounded; a fact that holds them in full takes them away. What comes from
an attempt older than the latest announced one is dropped (DESIGN §3, fencing). Pure: a bus adapter feeds it.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

KEEP_DELTAS = 4096
KEEP_BYTES = 1 << 20


class Position(NamedTuple):
    """Where a reader stands: after fact `offset` and, of the deltas that followed it, after number `n`."""

    offset: int
    n: int = 0

    def __str__(self) -> str:
        return f"{self.offset}.{self.n}" if self.n else str(self.offset)

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read `12` or `12.3`; raise ValueError for anything else (also `12.0`, `+1`, `٣`)."""
        offset, dot, n = text.partition(".")
        if not _is_count(offset) or (dot and (not _is_count(n) or int(n) == 0)):
            raise ValueError(f"{text!r} is not an event id")
        return cls(int(offset), int(n) if dot else 0)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15 and (text == "0" or text[0] != "0")


class Frame(NamedTuple):
    """One event on its way to readers: its position and its `data:` line."""

    at: Position
    text: str


@dataclass(frozen=True, slots=True)
class StoredFact:
    """A fact that was committed. `closes` is the scope whose deltas it replaces (see `Scope`)."""

    offset: int
    type: str
    frame: str
    closes: str = ""
    attempt: int = 0
    """For `step:start` and `step:retry`: the attempt that they announce; deltas of older ones are dropped."""


def model_scope(step: int) -> str:
    """The scope of a step's model reply: which deltas belong together and which attempt they come from."""
    return f"step/{step}"


def tool_scope(step: int, call_id: str) -> str:
    return f"step/{step}/tool/{call_id}"


@dataclass(slots=True)
class _Kept:
    frame: Frame
    scope: str


@dataclass(slots=True)
class Tail:
    """State of one session's live tail. `last` is the offset of the last fact seen, 0 before the first."""

    last: int = 0
    _n: int = 0
    _bytes: int = 0
    _kept: deque[_Kept] = field(default_factory=deque)
    _attempts: dict[str, int] = field(default_factory=dict)

    def see_fact(self, fact: StoredFact) -> Frame | None:
        """Take a committed fact; None when it is already known (two writers may report out of order)."""
        if fact.attempt:
            scope = fact.closes
            if fact.attempt > self._attempts.get(scope, 0):
                self._attempts = {scope: fact.attempt}
        if fact.closes:
            self._forget(fact.closes)
        if fact.offset <= self.last:
            return None
        self.last, self._n = fact.offset, 0
        return Frame(Position(fact.offset), fact.frame)

    def see_delta(self, scope: str, attempt: int, text: str) -> Frame | None:
        """Take a delta and give it its id; None when a newer attempt of its scope was announced."""
        if attempt < self._attempts.get(scope, 0):
            return None
        self._n += 1
        frame = Frame(Position(self.last, self._n), text)
        self._kept.append(_Kept(frame, scope))
        self._bytes += len(text)
        while len(self._kept) > KEEP_DELTAS or self._bytes > KEEP_BYTES:
            self._bytes -= len(self._kept.popleft().frame.text)
        return frame

    def kept(self) -> list[Frame]:
        """The deltas of the step now running, oldest first."""
        return [kept.frame for kept in self._kept]

    def _forget(self, scope: str) -> None:
        self._kept = deque(kept for kept in self._kept if kept.scope != scope)
        self._bytes = sum(len(kept.frame.text) for kept in self._kept)
