"""A session that somebody watches in this process: what its stream has told so far, and who is told of it.

Entries come from two sides, read from the stream and said on the channel; their ids tell which come twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from session.live import Frame, Position, Tail
from store.bus import Deliver
from store.valkey_wire import Entry, heard

BEGINNING: Final = Position(0)
Told = tuple[Position, Entry]


@dataclass(slots=True, eq=False)
class Watched:
    """`early`: what came before the stream was read; None, and `read` set, after that."""

    tail: Tail = field(default_factory=Tail)
    at: Position = BEGINNING
    readers: dict[int, Deliver] = field(default_factory=dict)
    early: list[Told] | None = field(default_factory=list)
    read: asyncio.Event = field(default_factory=asyncio.Event)

    def begin_anew(self) -> None:
        """The connection is a new one: the stream must be read again."""
        self.early = []
        self.read.clear()

    def take_early(self) -> list[Told]:
        """The stream was read: what has come meanwhile."""
        early, self.early = self.early or [], None
        self.read.set()
        return early

    def hear(self, entries: Iterable[Told]) -> tuple[list[Frame], bool]:
        """Take entries in their order; what readers are told of them, and whether the session is over."""
        frames: list[Frame] = []
        for at, entry in entries:
            is_new = at > self.at
            if not is_new and entry.kind == "d":
                continue
            self.at = max(self.at, at)
            frame = heard(self.tail, at, entry)  # a fact that comes too late to be told still silences its scope
            if frame is not None and is_new:
                frames.append(frame)
            if is_new and entry.over:  # what was told after the end is not heard
                return frames, True
        return frames, False

    def tell(self, frames: list[Frame], over: bool) -> None:
        if frames or over:
            for ticket in list(self.readers):
                if deliver := self.readers.get(ticket):  # one reader's delivery may make another leave
                    deliver(frames, over)
