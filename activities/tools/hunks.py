"""Where the hunks of a diff fit into a text, and the text that comes of it. Pure.

A hunk fits where all of its old lines stand, character for character. Line numbers are only a hint: they choose
between places, and where they choose none the place must be the only one. Nothing is fitted by guess: lines that
differ by a blank do not fit, and the complaint shows them beside what is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from activities.tools.patch import Hunk
from activities.tools.threads import Check

MAX_SHOWN = 30
"""Lines shown of what was expected, and as many of what was found."""


class Misfit(Exception):
    """A hunk does not fit: a machine code, and the lines to show."""

    def __init__(self, code: str, message: str, shown: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.shown = shown


@dataclass(frozen=True)
class Fitted:
    """A hunk and the index of the line where its old lines stand."""

    hunk: Hunk
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.hunk.old)

    @property
    def drift(self) -> int:
        """By how many lines it was found lower than its header said."""
        return 0 if self.hunk.start is None else self.at + 1 - self.hunk.start


def fitted(text: str, hunks: Sequence[Hunk], check: Check) -> tuple[list[Fitted], list[Misfit]]:
    """The place of each hunk, in the text's order, and what is wrong with those that have none."""
    lines = _lines(text)
    done: list[Fitted] = []
    wrong: list[Misfit] = []
    after = drift = 0
    for hunk in hunks:
        check()
        try:
            found = _found(lines, _as_in(text, hunk), after, drift)
            if any(found.at < other.end and other.at < found.end for other in done):
                raise Misfit("NOT_UNIQUE", "its lines are those of another hunk of the same file")
        except Misfit as misfit:
            wrong.append(Misfit(misfit.code, f"hunk {hunk.number} (`{hunk.header}`): {misfit.message}", misfit.shown))
        else:
            after, drift = found.end, found.drift
            done.append(found)
    return sorted(done, key=lambda each: each.at), wrong


def applied(text: str, places: Sequence[Fitted]) -> str:
    """The text with every hunk's new lines in place of its old ones."""
    lines, at = _lines(text), 0
    result: list[str] = []
    newline = text.endswith("\n") or text == ""
    for place in places:
        result += lines[at : place.at] + place.hunk.new
        at = place.end
        if at == len(lines) and (place.hunk.old_end or place.hunk.new_end):
            newline = not place.hunk.new_end
    result += lines[at:]
    return "\n".join(result) + ("\n" if newline and result else "")


def _lines(text: str) -> list[str]:
    """Split at \\n alone: other ends of lines, such as form feeds, belong to their line."""
    lines = text.split("\n")
    if lines[-1] == "":
        del lines[-1]
    return lines


def _as_in(text: str, hunk: Hunk) -> Hunk:
    """The hunk with the text's ends of lines: a model writes \\n where the file has \\r\\n."""
    if "\r\n" not in text or any(line.endswith("\r") for _, line in hunk.lines):
        return hunk
    return replace(hunk, lines=tuple((mark, line + "\r") for mark, line in hunk.lines))


def _found(lines: list[str], hunk: Hunk, after: int, drift: int) -> Fitted:
    old = hunk.old
    if not old:
        if lines:
            raise Misfit("NO_MATCH", "it has no lines that say where it belongs; add unchanged lines around it")
        return Fitted(hunk, 0)
    places = [at for at in _places(lines, old) if not hunk.old_end or at + len(old) == len(lines)]
    below = [at for at in places if at >= after]
    if hunk.start is not None:
        for hint in (hunk.start - 1, hunk.start - 1 + drift):
            if hint in places:
                return Fitted(hunk, hint)
    for choice in (below, places):
        if len(choice) == 1:
            return Fitted(hunk, choice[0])
    if places:
        told = ", ".join(str(at + 1) for at in places[:10]) + (", ..." if places[10:] else "")
        raise Misfit(
            "NOT_UNIQUE", f"its lines fit at {len(places)} places (lines {told}); add unchanged lines around it"
        )
    raise Misfit("NO_MATCH", "its lines are not in the file", _compared(lines, old, hunk.start))


def _places(lines: list[str], old: list[str]) -> list[int]:
    places: list[int] = []
    at = -1
    while True:
        try:
            at = lines.index(old[0], at + 1)
        except ValueError:
            return places
        if lines[at : at + len(old)] == old:
            places.append(at)


def _compared(lines: list[str], old: list[str], start: int | None) -> str:
    """The expected lines, and those that stand where most of them are."""
    at = _closest(lines, old, (start or 1) - 1)
    there = lines[at : at + len(old)]
    missing = next((i for i, line in enumerate(old) if there[i : i + 1] != [line]), 0)
    first = max(0, missing - MAX_SHOWN // 2)
    expected, found = (each[first : first + MAX_SHOWN] for each in (old, there))
    shown = ["expected:", *(f"  {line}" for line in expected)]
    if there:
        differs = f"the first that differs is line {at + missing + 1}"
        shown += [f"found from line {at + first + 1} on ({differs}):", *(f"  {line}" for line in found)]
    else:
        shown += ["found: the file is empty" if not lines else f"found: the file has only {len(lines)} lines"]
    return "\n".join(line.replace("\r", "\\r") for line in shown)


def _closest(lines: list[str], old: list[str], hint: int) -> int:
    """Where the most of the old lines stand; of equals, the nearest to the hint. Judged by the lines that are rare."""
    votes: dict[int, int] = {}
    stands: dict[str, list[int]] = {}
    for at, line in enumerate(lines):
        stands.setdefault(line.strip(), []).append(at)
    for index, line in enumerate(old):
        places = stands.get(line.strip(), []) if line.strip() else []
        for at in places if len(places) <= 100 else ():
            if at >= index:
                votes[at - index] = votes.get(at - index, 0) + 1
    nearest = min(max(hint, 0), max(0, len(lines) - 1))
    return min(votes, key=lambda at: (-votes[at], abs(at - hint)), default=nearest)
