"""Reading a unified diff, also as models write it: counts that do not add up, prefixes left out, lines trimmed.

The form is git's (git-diff(1), "generating patch text with -p"): per file an optional `diff --git` with lines on modes
and renames, then `---`, `+++` and hunks. Text around it is passed over. A hunk's counts are believed where they fit
what follows; otherwise the hunk ends where the next header stands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HUNK = re.compile(r"@@(?: -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@.*| .*|@*)\Z")
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abtnvfr"\\])')
_ESCAPES = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))


class Malformed(Exception):
    """This is no diff that could be applied; the sentence says why."""


@dataclass(frozen=True)
class Hunk:
    """Lines to find and lines to put there. `start` is where the old ones are said to begin (from 1), `number` which
    hunk of its file this is. `old_end`, `new_end`: that side's last line is marked as having no newline."""

    header: str
    number: int
    start: int | None
    lines: tuple[tuple[str, str], ...]
    """Mark (` `, `-` or `+`) and text of each line."""
    old_end: bool = False
    new_end: bool = False

    @property
    def old(self) -> list[str]:
        return [text for mark, text in self.lines if mark != "+"]

    @property
    def new(self) -> list[str]:
        return [text for mark, text in self.lines if mark != "-"]


@dataclass
class FilePatch:
    """What is to become of one file. `old` None: it is new; `new` None: it goes. Two names that differ: it moves, or
    with `copy` is copied."""

    old: str | None = None
    new: str | None = None
    copy: bool = False
    executable: bool | None = None
    hunks: list[Hunk] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.new or self.old or "?"


def parsed(text: str) -> list[FilePatch]:
    """The files of a diff, in its order. Raises `Malformed`."""
    lines = text.split("\n")
    if any(line.startswith("+++ ") and line.endswith("\r") for line in lines):  # the whole of it has such ends
        lines = [line.removesuffix("\r") for line in lines]
    if lines and lines[-1] == "":
        del lines[-1]
    found = list(_files(lines))
    if not found:
        raise Malformed(
            "there is no file in it: a unified diff has lines `--- a/path` and `+++ b/path`, then `@@` hunks"
        )
    return found


def _files(lines: list[str]) -> Iterator[FilePatch]:
    at = 0
    while at < len(lines):
        if lines[at].startswith("diff --git "):
            current, at = _git_file(lines, at)
        elif _names_at(lines, at):
            current = FilePatch()
        elif _HUNK.match(lines[at]) and lines[at].startswith("@@ -"):
            raise Malformed(f"line {at + 1} begins a hunk, but no `---` and `+++` lines above it name the file")
        else:
            at += 1
            continue
        if _names_at(lines, at):
            _name(current, lines[at], lines[at + 1])
            at = _hunks(current, lines, at + 2)
        _settle(current)
        yield current


def _names_at(lines: list[str], at: int) -> bool:
    return lines[at : at + 1] != [] and lines[at].startswith("--- ") and "".join(lines[at + 1 : at + 2])[:4] == "+++ "


def _git_file(lines: list[str], at: int) -> tuple[FilePatch, int]:
    """A file's header in git's form, and the line after it."""
    current = FilePatch()
    header = lines[at].removeprefix("diff --git ")
    at += 1
    created = deleted = False
    while at < len(lines) and not _names_at(lines, at) and not lines[at].startswith(("diff --git ", "@@")):
        line = lines[at]
        if line.startswith(("GIT binary patch", "Binary files ")):
            raise Malformed(f"line {at + 1}: binary files cannot be patched")
        created = created or line.startswith("new file mode ")
        deleted = deleted or line.startswith("deleted file mode ")
        if line.startswith(("new file mode ", "new mode ")):
            current.executable = _executable(line.split()[-1])
        for word in ("rename", "copy"):
            current.copy = current.copy or line.startswith("copy from ")
            if line.startswith(f"{word} from "):
                current.old = unquoted(line.removeprefix(f"{word} from "))
            if line.startswith(f"{word} to "):
                current.new = unquoted(line.removeprefix(f"{word} to "))
        at += 1
    if current.old is None and current.new is None:
        current.old = current.new = _same_name(header)
    if created:
        current.old = None
    if deleted:
        current.new = None
    return current, at


def _executable(mode: str) -> bool:
    if mode not in ("100644", "100755"):
        raise Malformed(f"a file of mode {mode} (a link or a submodule) cannot be patched")
    return mode == "100755"


def _same_name(header: str) -> str | None:
    """The name in `a/NAME b/NAME`, where both are the same, also with blanks in it."""
    if header.startswith('"'):
        ends = re.fullmatch(r'("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*")', header)
        old, new = (unquoted(ends[1]), unquoted(ends[2])) if ends else ("", "")
    else:
        middle = len(header) // 2
        old, new = header[:middle], header[middle + 1 :]
    if old.startswith("a/") and new.startswith("b/"):
        old, new = old[2:], new[2:]
    return old if old == new and old else None


def _name(current: FilePatch, minus: str, plus: str) -> None:
    old, new = (unquoted(line[4:].split("\t")[0].rstrip()) for line in (minus, plus))
    if (old.startswith("a/") or old == "/dev/null") and (new.startswith("b/") or new == "/dev/null"):
        old, new = (name if name == "/dev/null" else name[2:] for name in (old, new))
    if not old or not new:
        raise Malformed(f"`{minus if not old else plus}` names no file")
    moved = current.old is not None and current.new is not None and current.old != current.new
    if not moved:  # git has named both already, and without the doubt about prefixes
        current.old = None if old == "/dev/null" else old
        current.new = None if new == "/dev/null" else new


def _settle(current: FilePatch) -> None:
    if current.old is None and current.new is None:
        raise Malformed("a file of the diff has no name")
    if (
        current.old is not None
        and current.new is None
        and any(mark != "-" for h in current.hunks for mark, _ in h.lines)
    ):
        raise Malformed(f"{current.old} is to be deleted, but lines of it are kept")
    for name in (current.old, current.new):
        if name is not None and "\x00" in name:
            raise Malformed("a path cannot contain NUL characters")


def unquoted(name: str) -> str:
    """A name as git quotes it: in double quotes, with C's escapes for bytes."""
    if len(name) < 2 or not (name.startswith('"') and name.endswith('"')):
        return name

    def byte(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        return bytes([int(escape, 8) & 255]) if len(escape) == 3 else bytes([_ESCAPES[escape[0]]])

    return _ESCAPE.sub(byte, name[1:-1].encode()).decode(errors="surrogateescape")


def _hunks(current: FilePatch, lines: list[str], at: int) -> int:
    """Read the hunks from line `at` on; the line after them."""
    while at < len(lines):
        header = _HUNK.match(lines[at])
        if header is None:
            break
        body = _counted(lines, at + 1, *_counts(header)) or _until_next(lines, at + 1)
        current.hunks.append(_hunk(lines, at, body, header, len(current.hunks) + 1))
        at = body
    return at


def _counts(header: re.Match[str]) -> tuple[int, int]:
    if header[1] is None:
        return 0, 0
    return int(header[2] or 1), int(header[3] or 1)


def _counted(lines: list[str], at: int, old: int, new: int) -> int | None:
    """Where the body ends by its header's counts; None when they do not fit."""
    if old == new == 0:
        return None
    while (old > 0 or new > 0) and at < len(lines):
        mark = lines[at][:1] or " "
        if mark not in " +-\\":
            return None
        old -= mark in " -"
        new -= mark in " +"
        at += 1
    if old or new:
        return None
    if lines[at : at + 1] and lines[at].startswith("\\"):
        at += 1
    over = at == len(lines) or lines[at] == "" or lines[at][0] not in " +-" or _names_at(lines, at)
    return at if over or lines[at].rstrip() == "--" else None


def _until_next(lines: list[str], at: int) -> int:
    while at < len(lines) and lines[at][:1] in ("", " ", "+", "-", "\\") and not _names_at(lines, at):
        at += 1
    if at < len(lines) and not (lines[at].startswith(("@@", "diff --git ", "```")) or _names_at(lines, at)):
        told = "begins with none of ` `, `+`, `-`, and the hunk's counts do not say that it ends there"
        raise Malformed(f"line {at + 1} (`{lines[at][:100]}`) {told}")
    return at


def _hunk(lines: list[str], at: int, end: int, header: re.Match[str], number: int) -> Hunk:
    body: list[tuple[str, str]] = []
    old_end = new_end = False
    for line in lines[at + 1 : end]:
        if line.startswith("\\"):
            last = body[-1][0] if body else " "
            old_end, new_end = old_end or last in " -", new_end or last in " +"
        else:
            body.append((line[:1] or " ", line[1:]))
    counts = _counts(header)
    while body and body[-1] == (" ", "") and sum(mark != "+" for mark, _ in body) > counts[0]:
        del body[-1]  # blank lines between files, not lines of this one
    if not body:
        raise Malformed(f"the hunk on line {at + 1} (`{lines[at]}`) is empty")
    return Hunk(lines[at], number, int(header[1]) if header[1] else None, tuple(body), old_end, new_end)
