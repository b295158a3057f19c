"""What a model is told of its workspace before it looks itself: the names at its top, the git branch, its instructions.

Read as tools read (`confine.py`: no link leads outside, no secret file is opened), and nothing is run: a repository is
input, and its branch stands in a file.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from activities.tools.confine import located
from activities.tools.spec import ToolError
from session.model import storable
from session.prompt import Instructions, WorkspaceFacts

SHOWN_NAMES: Final = 60
MOST_NAMES: Final = 10_000
INSTRUCTION_FILES: Final = ("AGENTS.md", "CLAUDE.md")
"""The first that is there counts."""
INSTRUCTION_BYTES: Final = 24_000
_BRANCH: Final = re.compile(r"ref: refs/heads/(\S{1,200})")
_COMMIT: Final = re.compile(r"([0-9a-f]{12})[0-9a-f]{28,52}")


def survey(folder: Path) -> WorkspaceFacts:
    """Look at a workspace; what cannot be read is left out. Raises OSError where the folder itself cannot be read."""
    if not folder.exists():
        return WorkspaceFacts()
    top = _names(folder)
    return WorkspaceFacts(top[:SHOWN_NAMES], max(0, len(top) - SHOWN_NAMES), _branch(folder), _instructions(folder))


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        found = [(_shown(one.name), one.is_dir(follow_symlinks=False)) for one in islice(entries, MOST_NAMES)]
    return [f"{name}/" if is_folder else name for name, is_folder in sorted(found) if name != ".git"]


def _shown(name: str) -> str:
    """A file's name as one word of a sentence, whatever it is made of."""
    return "".join(char if char.isprintable() else "\ufffd" for char in storable(name))


def _branch(folder: Path) -> str:
    head = (_read(folder, ".git/HEAD", 1_000) or b"").decode("utf-8", "replace")
    if branch := _BRANCH.match(head):
        return _shown(branch[1])
    commit = _COMMIT.match(head)
    return f"none, commit {commit[1]} is checked out" if commit else ""


def _instructions(folder: Path) -> Instructions | None:
    for name in INSTRUCTION_FILES:
        found = _read(folder, name, INSTRUCTION_BYTES + 1)
        if found is not None and found.strip():
            text = storable(found[:INSTRUCTION_BYTES].decode("utf-8", "replace"))
            return Instructions(name, text, is_cut=len(found) > INSTRUCTION_BYTES)
    return None


def _read(folder: Path, path: str, most_bytes: int) -> bytes | None:
    """The beginning of a file; None where there is none that may be read."""
    with suppress(ToolError), located(folder, path) as place:
        opened = place.open_file(os.O_RDONLY)
        with os.fdopen(opened, "rb") as file:
            return file.read(most_bytes)
    return None
