"""The memory folder: markdown and text files below one base path, as they are on disk. Blocking: call it in a thread.

    notes/db.md       indexed under this path
    .git/…            hidden files and folders are passed over, and so are other kinds of files
    keys.pem.txt      files that may hold secrets, binary and over-long ones are skipped and told
    link.md           links are not followed, whatever they lead to

Folders are walked by their descriptors, so that nothing that changes meanwhile leads outside. A folder that is not
there (not mounted yet) has no files, and tells that it is away, so that nothing is taken for removed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from activities.tools.secret_files import is_secret
from session.model import storable
from store.memory_writing import NOTES, SUMMARIES

SUFFIXES: Final = (".md", ".markdown", ".mdx", ".txt", ".text", ".rst")
MOST_BYTES: Final = 1 << 20
MOST_FILES: Final = 20_000
DEEPEST: Final = 16
MOST_PATH_BYTES: Final = 1_000

Reason = Literal["secret", "binary", "tooLarge", "tooMany", "link", "unreadable", "name"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not indexed, and why."""

    path: str
    reason: Reason


@dataclass
class Contents:
    """What is in the folder: hashes by path. `whole`: all of it could be read, so what is not here is gone."""

    hashes: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """A file's content."""

    path: str
    hash: str
    size: int
    text: str


def look(base: Path) -> Contents:
    """The files of the folder with the hashes of their content."""
    found = Contents()
    if not base.is_dir():
        found.whole = False
        return found

    def unread(_error: OSError) -> None:
        found.whole = False

    for folder, path in _files(base, unread):
        if len(found.hashes) >= MOST_FILES:
            found.skipped.append(Skipped(path, "tooMany"))
            continue
        content = _content(folder, path)
        if isinstance(content, bytes):
            found.hashes[path] = hashlib.sha256(content).hexdigest()
        elif content == "unreadable":
            found.whole = False
            found.skipped.append(Skipped(storable(path), content))
        else:
            found.skipped.append(Skipped(storable(path), content))
    return found


def read(base: Path, path: str) -> Text | None:
    """A file's content as it is now; None when it is not to be indexed (any more)."""
    *above, _ = path.split("/")
    try:
        with ExitStack() as opened:
            folder = _opened(opened, base, None)
            for name in above:
                folder = _opened(opened, name, folder)
            content = _content(folder, path)
    except OSError:
        return None
    if not isinstance(content, bytes):
        return None
    return Text(path, hashlib.sha256(content).hexdigest(), len(content), content.decode().removeprefix("\ufeff"))


def _opened(opened: ExitStack, name: str | Path, within: int | None) -> int:
    links = 0 if within is None else os.O_NOFOLLOW  # the way to the base itself is the operator's
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | links, dir_fd=within)
    opened.callback(os.close, folder)
    return folder


def _files(base: Path, unread: Callable[[OSError], None]) -> Iterator[tuple[int, str]]:
    """The folder's descriptor and the path of each file that is text by its name, in order."""
    for here, folders, names, folder in os.fwalk(base, onerror=unread, follow_symlinks=False):
        below = os.path.relpath(here, base)
        depth = 0 if below == "." else below.count("/") + 1
        ours = {SUMMARIES, NOTES} if depth == 0 else set()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in ours)
        if depth >= DEEPEST:
            folders.clear()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield folder, name if below == "." else f"{below}/{name}"


def _content(folder: int, path: str) -> bytes | Reason:
    """The content of the file at the end of `path`, in this folder, or why it is not indexed."""
    if path != storable(path) or len(os.fsencode(path)) > MOST_PATH_BYTES:
        return "name"
    if is_secret(path):
        return "secret"
    name = path.rpartition("/")[2]
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return "link"
        if status.st_size > MOST_BYTES:
            return "tooLarge"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError:
        return "unreadable"
    if len(content) > MOST_BYTES:
        return "tooLarge"
    return "binary" if _is_binary(content) else content


def _is_binary(content: bytes) -> bool:
    try:
        return "\x00" in content.decode()
    except UnicodeDecodeError:
        return True
