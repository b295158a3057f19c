"""Changing several files: all is worked out first, then written, and put back if the writing fails.

What a failure leaves: while the plan is made, nothing is touched. While it is carried out, files are replaced one by
one, each atomically, and removed only after all others are written. An error half-way (no space, no permission, a
cancelled call) puts back what was done so far. A crash of the worker half-way does not: then the files that were
reached are new, the others old, none is half-written, and there may be a `.*.tmp` beside one. Folders that were made
stay, and so do those that became empty.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from activities.tools.confine import Place, located
from activities.tools.files import read_whole, replace
from activities.tools.spec import ToolError
from activities.tools.threads import Check


@dataclass
class Planned:
    """A file as it was found and as it is to be; None: not there. `path` is without links."""

    path: str
    before: bytes | None
    after: bytes | None
    was_executable: bool = False
    executable: bool | None = None

    @property
    def changed(self) -> bool:
        return self.before != self.after or self.executable not in (None, self.was_executable)


class Plan:
    """What is to become of files of a workspace; nothing is written before `carry_out`."""

    def __init__(self, workspace: Path, check: Check) -> None:
        self._workspace = workspace
        self._check = check
        self._files: dict[str, Planned] = {}

    def file(self, path: str) -> Planned:
        """The file that `path` leads to, with what was planned for it so far. Raises the errors of `located`, and
        PERMISSION_DENIED where it could not be written."""
        self._check()
        try:
            with located(self._workspace, path, writing=True) as place:
                if place.relative not in self._files:
                    self._files[place.relative] = _planned(place)
                return self._files[place.relative]
        except ToolError as error:
            if error.code != "NOT_FOUND" or ".." in path.split("/"):
                raise
        return self._files.setdefault(os.path.normpath(path), Planned(path, None, None))  # a folder is missing

    @property
    def changes(self) -> list[Planned]:
        return [each for each in self._files.values() if each.changed]

    def carry_out(self) -> None:
        """Write it all, or raise and leave all as it was (a crash: see above)."""
        done: list[Planned] = []
        try:
            for each in sorted(self.changes, key=lambda each: each.after is None):
                self._check()
                done.append(each)
                self._write(each)
        except BaseException:
            for each in reversed(done):
                with suppress(ToolError, OSError):  # the first failure is the one to tell
                    self._put_back(each)
            raise

    def _write(self, planned: Planned) -> None:
        with located(self._workspace, planned.path, writing=True, create_folders=planned.before is None) as place:
            if _content(place) != planned.before:
                raise ToolError(
                    "CHANGED", f"`{planned.path}` was changed by someone else meanwhile; nothing is applied"
                )
            if planned.after is None:
                os.unlink(place.name, dir_fd=place.folder)
            else:
                replace(place, planned.after, self._check, planned.executable)

    def _put_back(self, planned: Planned) -> None:
        with located(self._workspace, planned.path, writing=True) as place:
            if _content(place) != planned.after:
                return  # not reached, or no longer ours
            if planned.before is None:
                os.unlink(place.name, dir_fd=place.folder)
            else:
                replace(place, planned.before, lambda: None, planned.was_executable)


def _planned(place: Place) -> Planned:
    content, status = _content(place), place.status()
    if content is not None and not os.access(place.name, os.W_OK, dir_fd=place.folder):
        raise ToolError("PERMISSION_DENIED", f"`{place.relative}` is write-protected")
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.folder):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    executable = status is not None and bool(status.st_mode & stat.S_IXUSR)
    return Planned(place.relative, content, content, executable)


def _content(place: Place) -> bytes | None:
    return None if place.status() is None else read_whole(place)
