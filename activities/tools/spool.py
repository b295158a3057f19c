"""Long output, kept outside of memory: the first and the last half of a limit, in unlinked temporary files.

What is over the limit is lost from the middle, and the text says so. Memory is constant however much is written; on
disk there is at most one and a half times the limit. The files have no names, so a crash of the worker leaves nothing
behind.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from activities.tools.text import clipped, gap

LIMIT = 8 << 20
"""Characters of one output that are kept."""
BUFFER = 65_536
"""Characters gathered in memory before they are written; what is shorter never meets a disk."""


class Spool:
    """The `Whole` of a stream. Not for several threads at once."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.characters = 0
        self._half = limit // 2
        self._head = _Part(0)
        self._tail: list[_Part] = []
        """At most two: when the second has half the limit, the first is no longer needed."""

    def add(self, text: str) -> None:
        """Keep what comes next."""
        self.characters += len(text)
        room = self._half - self._head.characters
        if room > 0:
            self._head.add(text[:room])
            text = text[room:]
        while text:
            last = self._last()
            room = self._half - last.characters
            last.add(text[:room])
            text = text[room:]

    def read(self, offset: int, length: int) -> tuple[str, int]:
        """At most `length` characters from `offset` (of all there were) on, and the offset they begin at: later than
        asked for where what was asked for is lost, and never beyond the end."""
        offset = min(max(0, offset), self.characters)
        lost, kept = self._lost()
        if lost <= offset < kept:
            offset = kept
        end = min(offset + length, self.characters)
        if offset < lost:
            end = min(end, lost)
        return "".join(part.read(offset - part.start, end - offset) for part in self._parts(offset, end)), offset

    def pieces(self) -> Iterator[str]:
        """What was kept, in order, with a line that says how much is missing in the middle."""
        lost, kept = self._lost()
        offset = 0
        while offset < self.characters:
            if offset == lost and kept > lost:
                yield gap(kept - lost)
            text, begins = self.read(offset, BUFFER)
            yield text
            offset = begins + len(text)

    def close(self) -> None:
        """Give the space back."""
        for part in (self._head, *self._tail):
            part.close()

    def _last(self) -> _Part:
        if not self._tail or self._tail[-1].characters >= self._half:
            if len(self._tail) == 2:
                self._tail.pop(0).close()
            begins = self._tail[-1] if self._tail else self._head
            self._tail.append(_Part(begins.start + begins.characters))
        return self._tail[-1]

    def _lost(self) -> tuple[int, int]:
        """From where to where nothing is kept; the same offset twice where nothing is lost."""
        first = self._head.characters
        return first, max(first, self.characters - self._half)

    def _parts(self, offset: int, end: int) -> list[_Part]:
        return [p for p in (self._head, *self._tail) if p.start < end and p.start + p.characters > offset]


@dataclass
class _Part:
    """A stretch of text from the offset `start` on; written in blocks, whose first characters' places are kept."""

    start: int
    characters: int = 0
    _written: int = 0
    _waiting: list[str] = field(default_factory=list)
    _places: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    _file: IO[bytes] | None = None

    def add(self, text: str) -> None:
        self._waiting.append(text)
        self.characters += len(text)
        if self.characters - self._written >= BUFFER:
            self._write()

    def read(self, offset: int, length: int) -> str:
        """From an offset in this part, which may be negative: then what lies before it is left out."""
        begin, end = max(0, offset), min(offset + length, self.characters)
        if end > self._written:
            tail = "".join(self._waiting)
            waiting = tail[max(0, begin - self._written) : end - self._written]
        else:
            waiting = ""
        end = min(end, self._written)
        if self._file is None or begin >= end:
            return waiting
        first = bisect_right(self._places, begin, key=lambda place: place[0]) - 1
        last = bisect_right(self._places, end - 1, key=lambda place: place[0])
        known, at = self._places[first]
        until = self._places[last][1] if last < len(self._places) else -1
        self._file.seek(at)
        text = self._file.read(until - at if until >= 0 else -1).decode()
        self._file.seek(0, 2)
        return text[begin - known : end - known] + waiting

    def close(self) -> None:
        self._waiting.clear()
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by close)
        data = "".join(self._waiting).encode()
        written = 0
        while written < len(data):
            written += self._file.write(data[written:])
        self._waiting.clear()
        self._written = self.characters
        self._places.append((self._written, self._places[-1][1] + len(data)))


class Kept:
    """The `Whole` of a text that is in memory already."""

    def __init__(self, text: str, limit: int = LIMIT) -> None:
        self.characters = len(text)
        self._text = clipped(text, limit)[0]

    def pieces(self) -> Iterator[str]:
        for begin in range(0, len(self._text), BUFFER):
            yield self._text[begin : begin + BUFFER]

    def close(self) -> None:
        self._text = ""
