"""Passages: how a text of memory is cut into pieces that are found, shown and named by their lines.

The pieces of a text are its lines, all of them, in order and none twice, so that the text can be read from its pieces
again. A heading begins a new piece and is kept with every piece below it; a piece ends at a blank line once it is long
enough, and in the middle of a line only where that line alone is too long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

TARGET_CHARS: Final = 1_000
"""From this length on a piece ends with its paragraph."""
MOST_CHARS: Final = 2_000
HEADING_CHARS: Final = 300

_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?![^ \t])")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE: Final = re.compile(r"([=\-~^*])\1{2,}[ \t]*")


class Piece(NamedTuple):
    """Lines `start_line` to `end_line` (the first is 1). `heading`: the headings above, outermost first."""

    start_line: int
    end_line: int
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of memory that a session starts with."""

    path: str
    start_line: int
    end_line: int
    text: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of a file. `total`: how many the file has."""

    path: str
    start_line: int
    lines: list[str]
    total: int

    @property
    def end_line(self) -> int:
        return self.start_line + len(self.lines) - 1


def lines_of(text: str) -> list[str]:
    """The lines of a text as they are counted; every kind of line end counts."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def pieces_of(text: str, first_line: int = 1, above: str = "") -> list[Piece]:
    """The pieces of a text. `above`: the headings that it stands under."""
    cutter = _Cutter(first_line, above)
    lines = lines_of(text)
    for index, line in enumerate(lines):
        cutter.take(line, lines[index + 1] if index + 1 < len(lines) else "")
    cutter.cut()
    return cutter.pieces


def joined(pieces: Sequence[Piece]) -> list[str]:
    """The lines of consecutive pieces again."""
    lines: list[str] = []
    for before, piece in zip((None, *pieces), pieces, strict=False):
        more = piece.text.split("\n")
        if before is not None and before.end_line == piece.start_line:  # the rest of a long line
            lines[-1] += more.pop(0)
        lines += more
    return lines


class _Cutter:
    """Collects lines until a piece is whole."""

    def __init__(self, first_line: int, above: str) -> None:
        self.pieces: list[Piece] = []
        self._lines: list[str] = []
        self._start = first_line
        self._next = first_line
        self._size = 0
        self._has_text = False
        self._is_blank = True
        self._fence = ""
        self._trail: list[tuple[int, str]] = [(0, above)] if above else []
        self._heading = above

    def take(self, line: str, following: str) -> None:
        found = None if self._fence else _heading_of(line, following)
        if found is not None:
            if self._has_text:
                self.cut()
            self._trail = [above for above in self._trail if above[0] < found[0]] + [found]
            self._heading = " > ".join(title for _, title in self._trail if title)[:HEADING_CHARS]
        self._watch_fence(line)
        if self._lines and self._size + len(line) > MOST_CHARS:
            self.cut()
        for part in _parts(line if line.strip() else line[:MOST_CHARS]):
            if len(line) > MOST_CHARS and self._lines:
                self.cut(same_line=True)
            self._lines.append(part)
            self._is_blank = self._is_blank and not part.strip()
            self._size += len(part) + 1
        self._next += 1
        # The line under a heading's title is no text of its own.
        self._has_text = self._has_text or (bool(line.strip()) and found is None and not _UNDERLINE.fullmatch(line))
        if self._size >= TARGET_CHARS and not line.strip() and not self._fence:
            self.cut()

    def cut(self, *, same_line: bool = False) -> None:
        """End the piece. `same_line`: the next one goes on in the middle of the line."""
        end = self._next if same_line else self._next - 1
        if not self._is_blank:
            self.pieces.append(Piece(self._start, end, self._heading, "\n".join(self._lines)))
        elif self._lines and self.pieces:  # blank lines alone stay with what is above them
            last = self.pieces[-1]
            self.pieces[-1] = last._replace(end_line=end, text="\n".join((last.text, *self._lines)))
        elif self._lines:
            return
        self._lines, self._size, self._has_text, self._is_blank = [], 0, False, True
        self._start = end if same_line else self._next

    def _watch_fence(self, line: str) -> None:
        mark = _FENCE.match(line)
        if mark is None:
            return
        if not self._fence:
            self._fence = mark[1]
        elif mark[1].startswith(self._fence) and not line[mark.end() :].strip():
            self._fence = ""


def _heading_of(line: str, following: str) -> tuple[int, str] | None:
    """Level and title of a heading: `# title`, or a title that the next line underlines."""
    marked = _HEADING.match(line)
    title = line.strip()
    if marked is not None:
        return len(marked[1]), _without_mark(line[marked.end() :].strip())
    if not title or len(title) > 120 or title.startswith(("|", ">", "- ", "* ")) or _UNDERLINE.fullmatch(line):
        return None
    if not _UNDERLINE.fullmatch(following) or len(following.strip()) < min(3, len(title)):
        return None
    return 1 if following.startswith("=") else 2, title


def _without_mark(title: str) -> str:
    """Without the signs that may end a heading, which stand apart. No pattern: on a line of a megabyte most take for
    ever."""
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1] in " \t" else title


def _parts(line: str) -> Iterator[str]:
    if not line:
        yield line
    for start in range(0, len(line), MOST_CHARS):
        yield line[start : start + MOST_CHARS]
