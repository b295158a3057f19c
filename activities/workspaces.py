"""Workspaces: the folders that sessions' tools work in, all under one root.

    root/conv_…                 a conversation's own, made by the first tool that needs it
    root/anything/else          what sessions ask for by name; never ours to remove
    root/.perdure/home          the root's own name, by which its workers find each other
    root/.perdure/own/conv_…    an empty file that says that the folder of this name was made here, for the conversation
    root/.perdure/gone/…        folders of removed conversations, on their way out

No conversation can be called `.perdure`, and no session may ask for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

OURS: Final = ".perdure"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Workspaces:
    """`root` is the setting PERDURE_WORKSPACE, or a folder in the data dir."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, row: Mapping[str, Any]) -> Path:
        """The workspace of a session's row, made when it is missing. Raises ValueError as `find`, OSError."""
        folder = self.find(row)
        if json.loads(row["settings"])["workspace"] is None and not folder.exists():
            self._own.mkdir(parents=True, exist_ok=True)
            (self._own / str(row["conversation_id"])).touch()  # before the folder: a crash between leaves no stray one
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find(self, row: Mapping[str, Any]) -> Path:
        """The workspace of a session's row, which may be missing: the folder it asked for (checked at the start to be
        relative and without `..`), or its conversation's own. Raises ValueError when a link leads it outside."""
        asked: str | None = json.loads(row["settings"])["workspace"]
        root = self.root.resolve()
        folder = (root / (asked or str(row["conversation_id"]))).resolve()
        if not folder.is_relative_to(root):
            raise ValueError("the session's workspace leads outside the workspace root")
        if folder.is_relative_to(root / OURS):
            raise ValueError("the session's workspace is the worker's own folder")
        return folder

    def home(self) -> str:
        """The root's own name: the same for every worker that has this folder, on whatever machine, and for no other.

        It is told by a file in the root. Where that is missing it is made, from what tells this folder apart, so that a
        root that was emptied keeps its name. A copy of a root (a backup that was restored elsewhere) has the name of
        the original: it takes its place. Raises OSError.
        """
        told = self.root / OURS / "home"
        told.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return _name_in(told)
        new = told.with_name(f"home.{uuid.uuid4().hex}")
        new.write_text(_name_of(self.root.resolve()))
        try:
            with suppress(FileExistsError):  # another worker was faster
                os.link(new, told)
        finally:
            new.unlink()
        return _name_in(told)

    @property
    def _own(self) -> Path:
        return self.root / OURS / "own"

    @property
    def _gone(self) -> Path:
        return self.root / OURS / "gone"

    def owned(self) -> list[str]:
        """The conversations for which a folder was made here."""
        return sorted(os.listdir(self._own)) if self._own.is_dir() else []

    def set_aside(self, conversation_id: str) -> None:
        """Take a conversation's folder out of the way in one step; `empty` does the rest. A second call does nothing.

        Raises OSError; then the folder is still owned.
        """
        self._gone.mkdir(parents=True, exist_ok=True)
        folder = self.root / conversation_id
        if folder.is_symlink():
            folder.unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):
                folder.rename(self._gone / f"{conversation_id}.{uuid.uuid4().hex}")
        (self._own / conversation_id).unlink(missing_ok=True)

    def empty(self) -> None:
        """Remove what was set aside, also by a process that died at it; what cannot be removed stays for next time."""
        for name in os.listdir(self._gone) if self._gone.is_dir() else []:
            _open(self._gone / name)
            shutil.rmtree(self._gone / name, ignore_errors=True)


def _name_in(file: Path) -> str:
    name = file.read_text().strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{file} does not hold the name of a workspace root: remove it, and it is made anew")
    return name


def _name_of(root: Path) -> str:
    machine = Path("/etc/machine-id")
    told = [socket.gethostname(), machine.read_text().strip() if machine.is_file() else "", str(root)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _open(folder: Path) -> None:
    """Commands may have made folders that their owner may not change; nothing runs in them any more."""
    for here, names, _ in os.walk(folder):
        for name in names:
            path = os.path.join(here, name)
            with suppress(OSError):
                if not os.path.islink(path):
                    os.chmod(path, stat.S_IRWXU)
