"""The log of requests: what was asked, how it ended, what it cost. In memory, lost with the process."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from fake_model.billing import Bill
from fake_model.fields import JsonObject

Outcome = Literal["completed", "cut", "error", "refused", "aborted", "stalled"]


@dataclass(slots=True)
class Record:
    """One request. `outcome` is None while it runs; times are Unix seconds. `turn` counts from 0, `nth` from 1.

    completed: the whole reply was written. cut, stalled: it ended too early or broken, as scripted. error: a scripted
    error. refused: the request was bad. aborted: the client closed first, seen at `closed_at`.
    `usage` is what is billed, `told` what the client was told of it: the output of a reply that ends too early is not.
    """

    opened_at: float = field(default_factory=time.time)
    session: str = ""
    turn: int | None = None
    ask: int = 0
    nth: int = 0
    script: str = ""
    outcome: Outcome | None = None
    status: int | None = None
    closed_at: float | None = None
    usage: Bill = field(default_factory=Bill)
    told: Bill = field(default_factory=Bill)
    error: str | None = None
    request: JsonObject = field(default_factory=dict)

    def close(self, outcome: Outcome, error: str | None = None) -> None:
        """Closes the record; the first closing counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.error = error
            self.closed_at = time.time()

    def as_json(self) -> JsonObject:
        return {
            "session": self.session,
            "turn": self.turn,
            "nth": self.nth,
            "script": self.script,
            "outcome": self.outcome,
            "status": self.status,
            "opened_at": self.opened_at,
            "closed_at": self.closed_at,
            "usage": self.usage.as_usage(),
            "told": self.told.as_usage(),
            "error": self.error,
            "request": self.request,
        }


class Log:
    """The records in the order of their requests."""

    def __init__(self, *, keep_bodies: bool = False) -> None:
        self.records: list[Record] = []
        self._keep_bodies = keep_bodies
        self._asked: Counter[tuple[str, int, int]] = Counter()

    def open(self) -> Record:
        record = Record()
        self.records.append(record)
        return record

    def note_request(self, record: Record, body: JsonObject) -> None:
        """Keeps what is worth keeping of a body, which may be of any shape."""
        tools = body.get("tools")
        messages = body.get("messages")
        record.request = {
            "model": body.get("model"),
            "tools": [tool.get("name") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else [],
            "messages": len(messages) if isinstance(messages, list) else 0,
        }
        if self._keep_bodies:
            record.request["body"] = body

    def note_turn(self, record: Record, session: str, ask: int, turn: int) -> None:
        """Says which turn this is a request for, and counts it. `ask` tells the user's messages of a session apart."""
        key = (session, ask, turn)
        self._asked[key] += 1
        record.session, record.ask, record.turn = key
        record.nth = self._asked[key]

    def of(self, session: str | None = None) -> list[Record]:
        return [record for record in self.records if session is None or record.session == session]

    def bought(self) -> dict[str, dict[int, int]]:
        """How often each turn of each session was completed; a session with several asks counts the worst of them.
        Summaries are no turns."""
        counted: Counter[tuple[str, int, int]] = Counter()
        for record in self.records:
            if record.outcome == "completed" and record.turn is not None and record.ask >= 0:
                counted[record.session, record.ask, record.turn] += 1
        found: dict[str, dict[int, int]] = {}
        for (session, _, turn), count in sorted(counted.items()):
            turns = found.setdefault(session, {})
            turns[turn] = max(count, turns.get(turn, 0))
        return found

    def clear(self) -> None:
        """Forgets all; what still runs is not in the log any more."""
        self.records.clear()
        self._asked.clear()


def plain_text(content: Any) -> str | None:
    """The text of a user's message, or None when it holds tool results only."""
    if isinstance(content, str):
        return content
    if all(block["type"] == "tool_result" for block in content):
        return None
    return "\n".join(block["text"] for block in content if block["type"] == "text")
