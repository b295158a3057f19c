"""The live tail of one session: what a reader who joins now must still be told beyond the facts (CONTRACT §3).

Rules: a delta's id is `<offset of the last fact>.<n>`, given in the order in which deltas and facts arrive here. The
tail keeps the deltas of the step now running, bounded; a fact that holds them in full takes them away, and what comes
for it afterwards is dropped. So is what comes from an attempt older than the latest announced one (DESIGN §3, fencing).
Pure: a bus adapter feeds it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

KEEP_DELTAS = 4096
KEEP_BYTES = 1 << 20
"""How much text is kept, in characters."""


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


def _step_of(scope: str) -> int:
    return int(scope.split("/", 2)[1])


class _Kept(NamedTuple):
    frame: Frame
    scope: str
    attempt: int


class _Word(NamedTuple):
    """The last word of the facts on a scope: the attempt that may speak in it, None when it is closed."""

    offset: int
    attempt: int | None


@dataclass(slots=True)
class Tail:
    """State of one session's live tail. `last` is the offset of the last fact seen, 0 before the first."""

    last: int = 0
    _n: int = 0
    _step: int = 0
    _size: int = 0
    _kept: deque[_Kept] = field(default_factory=deque)
    _words: dict[str, _Word] = field(default_factory=dict)

    def see_fact(self, fact: StoredFact) -> Frame | None:
        """Take a committed fact; None when it is already known (two writers may report out of order)."""
        if fact.closes:
            self._heed(fact)
        if fact.offset <= self.last:
            return None
        self.last, self._n = fact.offset, 0
        return Frame(Position(fact.offset), fact.frame)

    def see_delta(self, scope: str, attempt: int, text: str, at: Position | None = None) -> Frame | None:
        """Take a delta and give it its id; None when it comes too late (its scope is closed, its step over, a newer
        attempt announced) or too early (no fact was seen yet: without an offset it would have a false id).

        `at`: the id that it has already, where another than this tail gives them, in the same order.
        """
        if (self.last == 0 and at is None) or not self._may_speak(scope, attempt):
            return None
        self._n += 1
        frame = Frame(at or Position(self.last, self._n), text)
        self._kept.append(_Kept(frame, scope, attempt))
        self._size += len(text)
        while len(self._kept) > KEEP_DELTAS or self._size > KEEP_BYTES:
            self._size -= len(self._kept.popleft().frame.text)
        return frame

    def kept(self) -> list[Frame]:
        """The deltas of the step now running, oldest first. Facts may lie between them: merge by position."""
        return [kept.frame for kept in self._kept]

    def _may_speak(self, scope: str, attempt: int) -> bool:
        word = self._words.get(scope)
        if word is None:
            return _step_of(scope) >= self._step
        return word.attempt is not None and attempt >= word.attempt

    def _heed(self, fact: StoredFact) -> None:
        """Apply a fact's word on a scope. The word of the latest offset holds, in whatever order they come: after an
        operator's reset the attempts of a step count from 1 again."""
        word, step = self._words.get(fact.closes), _step_of(fact.closes)
        if step < self._step or (word is not None and fact.offset <= word.offset):
            return
        if step > self._step:
            self._step = step
            self._words = {scope: known for scope, known in self._words.items() if _step_of(scope) >= step}
            self._forget(lambda kept: _step_of(kept.scope) < step)
        self._words[fact.closes] = _Word(fact.offset, fact.attempt or None)
        self._forget(lambda kept: kept.scope == fact.closes and kept.attempt != fact.attempt)

    def _forget(self, over: Callable[[_Kept], bool]) -> None:
        if any(over(kept) for kept in self._kept):
            self._kept = deque(kept for kept in self._kept if not over(kept))
            self._size = sum(len(kept.frame.text) for kept in self._kept)
