"""Paths are confined to the session's workspace, symbolic links included (CONTRACT §4).

Nothing is checked by name and then used by name: between the two, a command of the same session could
swap a folder for a link. A path is walked from the workspace's own descriptor, one name at a time, and no
step follows a link (`O_NOFOLLOW`). A link that is met is read and its target is walked from the workspace
again, so one that stays inside works and one that leaves is refused. `..` is taken on names, never by the
file system.

A hard link is not told from the file it names: reading through one is allowed (package managers use
them), and changing one makes a new file in its place, so the other name keeps what it had (see
`files.py`).

What a path leads to is also held against the rule of `secret_files.py`, in the same walk.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from activities.tools import secret_files
from activities.tools.spec import ToolError

MAX_LINKS = 40
"""Links followed in one path; Linux has the same limit (path_resolution(7))."""
MAX_PATH_BYTES = 4096

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO without a writer, or a terminal, must neither hang the worker nor be adopted by it.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Place:
    """A name in a folder of the workspace. `folder` is the folder's open descriptor, `relative` the path
    without links."""

    folder: int
    name: str
    relative: str

    def status(self) -> os.stat_result | None:
        """The status of what is there, links not followed; None when nothing is."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open_file(self, flags: int) -> int:
        """A descriptor of the regular file here, never of a folder, a pipe, a device or a link."""
        status = self.status()
        if status is not None:
            self.require_file(status)  # before opening: to open a device can be an act in itself
        opened = os.open(self.name, flags | _FILE, 0o666, dir_fd=self.folder)
        try:
            self.require_file(os.fstat(opened))
        except BaseException:
            os.close(opened)
            raise
        return opened

    def open_folder(self) -> int:
        return os.open(self.name, _FOLDER, dir_fd=self.folder)

    def require_file(self, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            raise ToolError("IS_A_FOLDER", f"`{self.relative}` is a folder, not a file")
        if stat.S_ISLNK(status.st_mode):
            raise _swapped(self.relative)
        if not stat.S_ISREG(status.st_mode):
            raise ToolError("NOT_A_FILE", f"`{self.relative}` is a pipe, socket or device, not a regular file")


@contextmanager
def located(workspace: Path, path: str, *, writing: bool = False, create_folders: bool = False) -> Iterator[Place]:
    """The place that `path` (relative to the workspace, or absolute inside it) leads to; its last name may
    not exist. `writing`: something is to be changed there.

    Raises `ToolError`: OUTSIDE_WORKSPACE, INVALID_ARGUMENTS, SECRET_FILE, GIT_FOLDER, NOT_FOUND and its
    neighbours, also for an `OSError` of the block. With `create_folders` missing folders on the way are
    made; they stay if the block fails.
    """
    try:
        root = open_workspace(workspace)
        try:
            place = _walked(root, workspace, path, _Purpose(writing, create_folders))
        finally:
            os.close(root)
        try:
            yield place
        finally:
            os.close(place.folder)
    except OSError as error:
        raise _refusal(error, path) from error


def open_workspace(workspace: Path) -> int:
    """A descriptor of the workspace folder, which is made when it is missing. Links above it are the
    operator's."""
    workspace.mkdir(parents=True, exist_ok=True)
    return os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@dataclass(frozen=True)
class _Purpose:
    """What the walk is for: to change what is found, and to make the folders that are missing."""

    writing: bool
    create: bool


@dataclass(frozen=True)
class _Detour:
    """The walk must begin again with these names: a `..` was taken, or a link replaced by its target."""

    names: list[str]
    link: bool


def _walked(root: int, workspace: Path, path: str, purpose: _Purpose) -> Place:
    if "\x00" in path:
        raise ToolError("INVALID_ARGUMENTS", "a path cannot contain NUL characters")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ToolError("INVALID_ARGUMENTS", f"the path is longer than {MAX_PATH_BYTES} bytes")
    names = _names(workspace, path, path)
    links = 0
    while isinstance(step := _descended(root, workspace, path, names, purpose), _Detour):
        names, links = step.names, links + step.link
        if links > MAX_LINKS:
            raise ToolError("INVALID_ARGUMENTS", f"`{path}` goes through too many symbolic links")
    return step


def _descended(root: int, workspace: Path, path: str, names: list[str], purpose: _Purpose) -> Place | _Detour:
    folder = os.dup(root)
    try:
        if purpose.writing:  # also before folders are made on the way
            ahead = names[: names.index("..")] if ".." in names else names
            secret_files.refuse("/".join(ahead), writing=True)
        for index, name in enumerate(names):
            if name == "..":
                if index == 0:
                    raise _outside(path)
                return _closing(folder, _Detour(names[: index - 1] + names[index + 1 :], link=False))
            target = _link(folder, name)
            if target is not None:
                before = [] if target.startswith("/") else names[:index]
                detour = before + _names(workspace, target, path) + names[index + 1 :]
                return _closing(folder, _Detour(detour, link=True))
            if index == len(names) - 1:
                secret_files.refuse("/".join(names), writing=purpose.writing)
                return Place(folder, name, "/".join(names))
            inner = _entered(folder, name, purpose.create)
            if inner is None:  # it became a link since we looked: look again
                return _closing(folder, _Detour(names, link=True))
            os.close(folder)
            folder = inner
        return Place(folder, ".", ".")
    except BaseException:
        os.close(folder)
        raise


def _closing(folder: int, detour: _Detour) -> _Detour:
    os.close(folder)
    return detour


def _entered(folder: int, name: str, create: bool) -> int | None:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise
        with suppress(FileExistsError):  # someone else made it at the same moment
            os.mkdir(name, dir_fd=folder)
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        # Linux answers ENOTDIR, others ELOOP, for a link opened with O_NOFOLLOW | O_DIRECTORY.
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and _link(folder, name) is not None:
            return None
        raise


def _link(folder: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # not a link, or nothing there
            return None
        raise


def _names(workspace: Path, path: str, asked: str) -> list[str]:
    """The names of a path from the workspace on (or, of a relative one, as they are)."""
    pure = PurePosixPath(path)
    if not pure.is_absolute():
        return list(pure.parts)
    parts = pure.parts[1:]
    for root in (workspace.absolute(), workspace.resolve()):
        prefix = root.parts[1:]
        if parts[: len(prefix)] == prefix:
            return list(parts[len(prefix) :])
    raise _outside(asked)


def lexical(workspace: Path, path: str) -> str:
    """`path` from the workspace on, by its names alone: for programs that resolve links by rules of their own.

    Raises `ToolError` OUTSIDE_WORKSPACE, SECRET_FILE, INVALID_ARGUMENTS.
    """
    if "\x00" in path:
        raise ToolError("INVALID_ARGUMENTS", "a path cannot contain NUL characters")
    names: list[str] = []
    for name in _names(workspace, path, path):
        if name != "..":
            names.append(name)
        elif names:
            names.pop()
        else:
            raise _outside(path)
    secret_files.refuse("/".join(names), writing=False)
    return "/".join(names) or "."


def _outside(path: str) -> ToolError:
    return ToolError(
        "OUTSIDE_WORKSPACE",
        f"`{path[:200]}` leads out of the workspace; use a path inside it, relative to its root",
    )


def _swapped(path: str) -> ToolError:
    return ToolError("OUTSIDE_WORKSPACE", f"`{path[:200]}` became a symbolic link while it was being opened")


_REFUSALS = {
    errno.ENOENT: ("NOT_FOUND", "does not exist in the workspace"),
    errno.ENOTDIR: ("NOT_A_FOLDER", "a folder was expected here, and there is none"),
    errno.EISDIR: ("IS_A_FOLDER", "is a folder, not a file"),
    errno.ENAMETOOLONG: ("INVALID_ARGUMENTS", "a name in it is too long for the file system"),
    errno.EACCES: ("PERMISSION_DENIED", ""),
    errno.EPERM: ("PERMISSION_DENIED", ""),
    errno.EROFS: ("PERMISSION_DENIED", ""),
    errno.ENOSPC: ("NO_SPACE", ""),
    errno.EDQUOT: ("NO_SPACE", ""),
}
"""Code and sentence by the system's error; without a sentence the system's own is shown."""


def _refusal(error: OSError, path: str) -> ToolError:
    """The sentence for what the system said about `path`."""
    if error.errno == errno.ELOOP:
        return _swapped(path)
    system = error.strerror or str(error)
    code, sentence = _REFUSALS.get(error.errno or 0, ("IO_ERROR", system))
    return ToolError(code, f"`{path[:200]}`: {sentence or system}")
