"""Finding the git repository of a folder of the workspace, and checking that all it is made of lies in the workspace.

git itself would look further up, follow `.git` files, links and borrowed objects anywhere, and take a folder that
merely looks like a repository for one. Here the repository is told to it by name. A command that runs at the same
moment could still change what was checked; where that matters, commands run in the sandbox, which has nothing outside
the workspace to lead to.
"""

import os
import posixpath
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from activities.tools.confine import lexical, located
from activities.tools.files import read_whole
from activities.tools.spec import ToolError


@dataclass(frozen=True)
class Repository:
    """`relative`: the work tree from the workspace on; `work_tree` and `git_folder` are absolute and free of links."""

    relative: str
    work_tree: str
    git_folder: str

    @property
    def ceiling(self) -> str:
        return posixpath.dirname(self.work_tree)


def found(workspace: Path, directory: str) -> Repository:
    """The repository that `directory` of the workspace belongs to. Blocks.

    Raises `ToolError`: those of `located`, NOT_A_REPOSITORY, OUTSIDE_WORKSPACE where a part of it lies elsewhere.
    """
    with located(workspace, directory) as place:
        place_status = place.status()
        if place_status is None or not stat.S_ISDIR(place_status.st_mode):
            raise ToolError("NOT_A_FOLDER", f"`{directory}` is not a folder of the workspace")
        start = place.relative
    names = [] if start == "." else start.split("/")
    for depth in range(len(names), -1, -1):
        relative = "/".join(names[:depth]) or "."
        git_folder = _git_folder(workspace, relative)
        if git_folder is not None:
            root = workspace.resolve()
            return Repository(relative, str(root / relative), str(root / git_folder))
    raise ToolError(
        "NOT_A_REPOSITORY",
        f"`{directory}` is not in a git repository of the workspace; name the repository's folder as directory, "
        "or make one with exec (git init)",
    )


def _git_folder(workspace: Path, relative: str) -> str | None:
    """Where the repository of this work tree is, checked; None when there is none."""
    with located(workspace, f"{relative}/.git") as place:
        status = place.status()
        if status is None:
            return None
        folder = place.relative
        if not stat.S_ISDIR(status.st_mode):  # a linked work tree or a submodule: the file says where it is
            told = read_whole(place).decode(errors="replace").strip()
            folder = _joined(relative, told.removeprefix("gitdir:").strip())
    folder = _checked(workspace, folder)
    common = _line(workspace, f"{folder}/commondir")
    if common is not None:
        _checked(workspace, _joined(folder, common))
    return folder


def _checked(workspace: Path, folder: str) -> str:
    """The folder free of links, when all of it that git follows stays in the workspace."""
    with located(workspace, folder) as place:
        opened = place.open_folder()
        try:
            links = [entry.name for entry in os.scandir(opened) if entry.is_symlink()]
        finally:
            os.close(opened)
        real = place.relative
    for name in links:
        _inside(workspace, f"{real}/{name}")
    _inside(workspace, f"{real}/objects/info/alternates")
    alternates = _line(workspace, f"{real}/objects/info/alternates", whole=True)
    for line in (alternates or "").splitlines():
        if line and not line.startswith("#"):
            _inside(workspace, _joined(f"{real}/objects", line))
    return real


def _inside(workspace: Path, path: str) -> None:
    try:
        with located(workspace, path):
            pass
    except ToolError as error:
        if error.code == "OUTSIDE_WORKSPACE":  # that it is missing or secret is no matter here
            told = "the repository is refused: a part of it lies outside the workspace"
            raise ToolError("OUTSIDE_WORKSPACE", f"{told} (`{path[:200]}`)") from error


def _joined(folder: str, path: str) -> str:
    return path if path.startswith("/") else posixpath.join(folder, path)


def _line(workspace: Path, path: str, *, whole: bool = False) -> str | None:
    with suppress(ToolError), located(workspace, path) as place:
        if place.status() is not None:
            text = read_whole(place).decode(errors="surrogateescape")
            return text if whole else text.split("\n")[0]
    return None


def within(workspace: Path, repository: Repository, path: str) -> str:
    """`path` (from the workspace on) as a path from the work tree on. Raises `ToolError`."""
    below = posixpath.relpath(lexical(workspace, path), repository.relative)
    if below.startswith(".."):
        told = f"`{path}` is not in the repository, which begins at `{repository.relative}`"
        raise ToolError("OUTSIDE_WORKSPACE", told)
    return below
