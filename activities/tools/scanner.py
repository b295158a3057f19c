"""The scanner: a short-lived process that walks the workspace for search_files, grep and directory_tree.

Started as `python -I scanner.py FOLDER`, with the workspace's descriptor; a request as JSON on stdin,
text on stdout. A process of its own, because Python's regular expressions cannot be interrupted and hold
the interpreter while they match: one bad pattern, from the model or from a .gitignore of a cloned
repository, would stop every session of a worker. Killing a process always works. It also kills itself by
a timer, so none is left behind by a worker that died.

It walks by descriptors and follows no link, so it cannot be led out of the workspace. Folders named .git,
and what .gitignore files say, are left out; what the walk is started from is not. It imports nothing of
the project.

Exit codes: 0 all was seen, 3 a bound was reached (the last line says which), 2 the pattern is not valid
(stderr says why); death by SIGALRM: out of time.
"""

import json
import os
import re
import resource
import signal
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pathspec import GitIgnoreSpec

MAX_ENTRIES = 200_000
MAX_BYTES = 1_000_000_000
MAX_PRINTED = 200_000
"""Characters."""
MAX_LINE = 20_000
"""Bytes of a line that are searched."""
SHOWN_LINE = 400
MEMORY = 2 << 30
GRACE = 1.0
"""Seconds from the polite end to the timer's signal."""
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Enough(Exception):
    """A bound was reached; the sentence goes below the results."""


class Entry(NamedTuple):
    """Something in the workspace; `folder` is the descriptor of what it is in, valid until the next entry."""

    parts: tuple[str, ...]
    kind: str  # "file", "folder", "link" or "other"
    folder: int


Rules = tuple[tuple[int, GitIgnoreSpec], ...]
"""The .gitignore files that apply, outermost first, each with the depth of its folder."""


class Scan:
    """One request: its bounds, and what was printed so far."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.start: tuple[str, ...] = tuple(request["start"])
        self.results = 0
        self._end = time.monotonic() + request["seconds"]
        self._entries = 0
        self._bytes = 0
        self._printed = 0

    def say(self, line: str) -> None:
        self._printed += len(line) + 1
        if self._printed > MAX_PRINTED:
            raise Enough("there is more than can be shown; narrow the search")
        sys.stdout.write(line + "\n")

    def result(self, line: str) -> None:
        if self.results == self.request["limit"]:
            raise Enough(f"stopped at {self.results} results, there are more; narrow the search")
        self.say(line)
        self.results += 1

    def check(self, entries: int = 0, size: int = 0) -> None:
        self._entries += entries
        self._bytes += size
        if time.monotonic() > self._end:
            raise Enough("stopped: out of time; search in a smaller folder")
        if self._entries > MAX_ENTRIES or self._bytes > MAX_BYTES:
            raise Enough("stopped: too many files; search in a smaller folder")

    def walk(self, root: int) -> Iterator[Entry]:
        """Everything below the start that is not ignored, by name, a folder before what is in it.

        Where the start is a file, just that.
        """
        folder, rules = os.dup(root), _rules((), root, 0)
        try:
            for depth, name in enumerate(self.start[:-1] if self.request["file"] else self.start, start=1):
                inner = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
                ignored = _ignored(rules, self.start[:depth], True)  # who starts in there wants to see it
                rules = _rules(() if ignored else rules, folder, depth)
            if self.request["file"]:
                yield Entry(self.start, "file", folder)
            else:
                yield from self._below(folder, self.start, rules)
        finally:
            os.close(folder)

    def _below(self, folder: int, parts: tuple[str, ...], rules: Rules) -> Iterator[Entry]:
        for name, kind in self._entries_of(folder):
            inner = (*parts, name)
            if name == ".git" or _ignored(rules, inner, kind == "folder"):
                continue
            yield Entry(inner, kind, folder)
            if kind == "folder" and len(inner) - len(self.start) < self.request["depth"]:
                try:
                    opened = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
                except OSError:
                    continue  # gone, forbidden, or a link by now
                try:
                    yield from self._below(opened, inner, _rules(rules, opened, len(inner)))
                finally:
                    os.close(opened)

    def _entries_of(self, folder: int) -> list[tuple[str, str]]:
        entries = []
        with os.scandir(folder) as found:
            for entry in found:
                self.check(entries=1)
                entries.append((entry.name, _kind(entry)))
        return sorted(entries)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _rules(outer: Rules, folder: int, depth: int) -> Rules:
    """`outer` and the .gitignore of this folder, if it has a readable one; at most 100 KB of it are read."""
    try:
        opened = os.open(".gitignore", _FLAGS, dir_fd=folder)
    except OSError:
        return outer
    with os.fdopen(opened, "rb", closefd=False) as file:
        regular = stat.S_ISREG(os.fstat(opened).st_mode)
        lines = file.read(100_000).decode(errors="replace").splitlines() if regular else []
    os.close(opened)
    try:
        return (*outer, (depth, GitIgnoreSpec.from_lines(lines)))
    except ValueError:
        return outer


def _ignored(rules: Rules, parts: tuple[str, ...], folder: bool) -> bool:
    for depth, spec in reversed(rules):  # the innermost file has the last word (gitignore(5))
        include = spec.check_file("/".join(parts[depth:]) + ("/" if folder else "")).include
        if include is not None:
            return include
    return False


# -- the three questions -----------------------------------------------------------------------------------


def files(scan: Scan, root: int) -> None:
    matches = _matcher(scan)
    for entry in scan.walk(root):
        if entry.kind != "folder" and matches(entry):
            scan.result(printable("/".join(entry.parts)))
    if scan.results == 0:
        scan.say("[no file matches]")


def tree(scan: Scan, root: int) -> None:
    scan.say(printable("/".join(scan.start) or ".") + "/")
    for entry in scan.walk(root):
        mark = {"folder": "/", "link": " (link)", "other": " (special)"}.get(entry.kind, "")
        scan.result("  " * (len(entry.parts) - len(scan.start)) + printable(entry.parts[-1] + mark))
    if scan.results == 0:
        scan.say("  [empty]")


def grep(scan: Scan, root: int) -> None:
    pattern = re.compile(scan.request["pattern"])
    matches = _matcher(scan)
    secret = re.compile(scan.request["secret"], re.IGNORECASE)
    searched = left_out = 0
    for entry in scan.walk(root):
        if entry.kind == "file" and matches(entry):
            if secret.search("/".join(entry.parts)):
                left_out += 1
            else:
                searched += _grep_file(scan, entry, pattern)
    if scan.results == 0:
        scan.say(f"[no match in {_files(searched, 'text ')}]")
    if left_out:
        scan.say(f"[not searched: {_files(left_out)} that may hold secrets, going by the name]")


def _files(number: int, kind: str = "") -> str:
    return f"{number} {kind}{'file' if number == 1 else 'files'}"


def _grep_file(scan: Scan, entry: Entry, pattern: re.Pattern[str]) -> bool:
    """Print the matching lines of one file with their context; False for what is not text or not readable."""
    try:
        opened = os.open(entry.parts[-1], _FLAGS, dir_fd=entry.folder)
    except OSError:
        return False
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode) or b"\x00" in file.read(8192):
            return False
        file.seek(0)
        _grep_lines(scan, printable("/".join(entry.parts)), _lines(file), pattern)
    sys.stdout.flush()  # what was found is kept if a later file takes too long
    return True


def _lines(file: Any) -> Iterator[tuple[int, str]]:
    """The lines, each cut at `MAX_LINE`, with the bytes they took."""
    while line := file.readline(MAX_LINE):
        size, rest = len(line), line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(1 << 20)
            size += len(rest)
        yield size, line.rstrip(b"\r\n").decode(errors="replace")


def _grep_lines(scan: Scan, path: str, lines: Iterator[tuple[int, str]], pattern: re.Pattern[str]) -> None:
    context: int = scan.request["context"]
    before: deque[tuple[int, str]] = deque(maxlen=context)
    after = last = 0
    for number, (size, line) in enumerate(lines, start=1):
        scan.check(size=size)
        if match := pattern.search(line):
            first = before[0][0] if before else number
            if context and scan.results and (last == 0 or first > last + 1):
                scan.say("--")
            for earlier, text in before:
                scan.say(f"{path}-{earlier}-{_shown(text, 0)}")
            before.clear()
            scan.result(f"{path}:{number}:{_shown(line, match.start())}")
            after, last = context, number
        elif after:
            scan.say(f"{path}-{number}-{_shown(line, 0)}")
            after, last = after - 1, number
        elif context:
            before.append((number, line))


def _shown(line: str, at: int) -> str:
    start = max(0, at - SHOWN_LINE // 2) if at > SHOWN_LINE - 100 else 0
    shown = line[start : start + SHOWN_LINE]
    return ("..." if start else "") + shown + ("..." if start + SHOWN_LINE < len(line) else "")


def _matcher(scan: Scan) -> Callable[[Entry], bool]:
    """Whether an entry's path from the start matches one of the request's expressions, if it has any."""
    globs = [] if scan.request["file"] else [re.compile(each) for each in scan.request["globs"]]
    below = len(scan.start)
    return lambda entry: not globs or any(glob.fullmatch("/".join(entry.parts[below:])) for glob in globs)


def printable(name: str) -> str:
    """The name on one line and in valid UTF-8, whatever bytes the file system holds."""
    text = os.fsencode(name).decode(errors="replace")
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def main(root: int) -> int:
    request = json.loads(sys.stdin.buffer.read())
    # The default action of SIGALRM ends a process, whatever it is doing.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + GRACE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    scan = Scan(request)
    code = 0
    try:
        {"files": files, "tree": tree, "grep": grep}[request["question"]](scan, root)
    except Enough as enough:
        sys.stdout.write(f"[{enough}]\n")
        code = 3
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(f"the pattern is not a valid one: {error}\n")
        code = 2
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main(int(sys.argv[1])))
