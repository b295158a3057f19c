"""What is written on the Valkey bus: the names of its keys, and one entry for each fact or delta.

An entry is a line that says what it is, and the event's `data:` line:

    f <over> <attempt> <closes>\n<frame>       d 0 <attempt> <scope>\n<frame>

Both sides of the bus import this; a mix of versions must understand each other during a deploy.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, cast

from session.live import Frame as LiveFrame
from session.live import Position, StoredFact, Tail

_SCOPE: Final = re.compile(r"step/[0-9]{1,9}(/|$)")


class Names(NamedTuple):
    """Channels have no database of their own, so its number is part of every name."""

    db: int

    def live(self, session_id: str) -> str:
        return f"perdure:{self.db}:live:{session_id}"

    def words(self, session_id: str) -> str:
        return f"perdure:{self.db}:words:{session_id}"

    @property
    def cancels(self) -> str:
        return f"perdure:{self.db}:cancels"


class Entry(NamedTuple):
    """A fact or delta on its way. `offset`: of a fact; a delta gets its id from the server. `opens`: it announces an
    attempt, so what came before it is needed no more. `again`: it was sent before, and its fate is unknown."""

    kind: Literal["f", "d"]
    over: bool
    attempt: int
    scope: str
    frame: str
    offset: int = 0
    opens: bool = False
    again: bool = False

    def text(self) -> str:
        return f"{self.kind} {int(self.over)} {self.attempt} {self.scope}\n{self.frame}"

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Raises ValueError for what is no entry, so that nobody else must bear it."""
        head, _, frame = text.partition("\n")
        kind, over, attempt, scope = head.split(" ", 3)
        if kind not in ("f", "d") or ((scope or kind == "d") and not _SCOPE.match(scope)):
            raise ValueError("not an entry")
        return cls(cast(Literal["f", "d"], kind), over == "1", int(attempt), scope, frame)


def fact_entry(fact: StoredFact, *, over: bool) -> Entry:
    opens = bool(fact.closes and fact.attempt)
    return Entry("f", over, fact.attempt, fact.closes, fact.frame, fact.offset, opens)


def delta_entry(scope: str, attempt: int, frame: str) -> Entry:
    return Entry("d", False, attempt, scope, frame)


def position_of(entry_id: str) -> Position:
    """An entry's id as an event's position. Raises ValueError."""
    offset, _, number = entry_id.partition("-")
    return Position(int(offset), int(number))


def heard(tail: Tail, at: Position, entry: Entry) -> LiveFrame | None:
    """Show an entry to a session's tail; what readers are told of it."""
    if entry.kind == "f":
        return tail.see_fact(StoredFact(at.offset, "", entry.frame, entry.scope, entry.attempt))
    return tail.see_delta(entry.scope, entry.attempt, entry.frame, at)
