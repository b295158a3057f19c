"""The git tools: what a repository cannot make them do."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activities.tools import ToolError
from tests.tools.yard import Yard, git, make

CALLS: dict[str, dict[str, Any]] = {
    "git_status": {},
    "git_diff": {},
    "git_log": {},
    "git_branch": {},
    "git_commit": {"message": "m", "all": True},
}
EVERY_CALL = [
    *CALLS.items(),
    ("git_diff", {"staged": True}),
    ("git_diff", {"ref": "HEAD~1..HEAD"}),
    ("git_commit", {"message": "m", "paths": ["a.txt"]}),
    ("git_commit", {"message": "m", "paths": ["extra.txt"]}),
    ("git_branch", {"name": "b", "create": True}),
    ("git_branch", {"name": "c", "create": True, "switch": True}),
    ("git_branch", {"name": "other", "switch": True}),
]


async def test_a_repository_above_the_workspace_is_never_found(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    make(tmp_path)
    for name, arguments in CALLS.items():
        error = await yard.git_refused(name.removeprefix("git_"), **arguments)
        assert error.code == "NOT_A_REPOSITORY" and "git init" in error.message


@pytest.mark.parametrize("kind", ["file", "file_up", "link", "objects", "alternates", "commondir"])
async def test_a_repository_that_lies_partly_outside_is_refused(yard: Yard, kind: str) -> None:
    outside = yard.outside / "repo"
    make(outside)
    folder = yard.workspace / ".git"
    if kind in ("file", "file_up", "link"):
        folder.rename(yard.workspace / "kept")
    match kind:
        case "file":
            folder.write_text(f"gitdir: {outside}/.git\n")
        case "file_up":
            folder.write_text("gitdir: ../outside/repo/.git\n")
        case "link":
            folder.symlink_to(outside / ".git")
        case "objects":
            (folder / "objects").rename(folder / "kept")
            (folder / "objects").symlink_to(outside / ".git/objects")
        case "alternates":
            (folder / "objects/info/alternates").write_text(f"# comment\n{outside}/.git/objects\n")
        case _:
            (folder / "commondir").write_text(f"{outside}/.git\n")
    before = git(outside, "log", "--all", "--format=%H")
    for name, arguments in CALLS.items():
        error = await yard.git_refused(name.removeprefix("git_"), **arguments)
        assert error.code == "OUTSIDE_WORKSPACE", error
    assert git(outside, "log", "--all", "--format=%H") == before


# -- what a repository could run --------------------------------------------------------------------------

HOOKS = (
    *("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "post-index-change"),
    *("reference-transaction", "pre-auto-gc", "fsmonitor-watchman", "post-rewrite"),
)


def _trap(yard: Yard, trap: str) -> None:
    """Set a trap, with a program of its own that leaves a mark where anyone runs it."""
    program = yard.workspace.parent / f"{trap.replace(' ', '-')}.sh"
    program.write_text(f"#!/bin/sh\ntouch {program}.ran\n{'' if trap == 'missing objects' else 'cat'}\n")
    program.chmod(0o755)
    TRAPS[trap](yard, str(program))


def _sprung(yard: Yard) -> list[str]:
    """The traps that were sprung since this was asked last."""
    marks = sorted(yard.workspace.parent.glob("*.ran"))
    for mark in marks:
        mark.unlink()
    return [mark.name for mark in marks]


def _hooks(yard: Yard, program: str) -> None:
    for name in HOOKS:
        (yard.workspace / ".git/hooks").mkdir(exist_ok=True)
        (yard.workspace / ".git/hooks" / name).symlink_to(program)


def _hooks_elsewhere(yard: Yard, program: str) -> None:
    for name in HOOKS:
        yard.file(f"hooks/{name}", Path(program).read_bytes()).chmod(0o755)
    git(yard.workspace, "config", "core.hooksPath", "hooks")


def _set(**settings: str) -> Callable[[Yard, str], None]:
    def prepare(yard: Yard, program: str) -> None:
        for name, value in settings.items():
            git(yard.workspace, "config", name.replace("__", "."), value.replace("PROGRAM", program))

    return prepare


def _attribute(line: str, **settings: str) -> Callable[[Yard, str], None]:
    def prepare(yard: Yard, program: str) -> None:
        with (yard.workspace / ".git/info/attributes").open("a") as file:
            file.write(f"{line}\n")
        _set(**settings)(yard, program)

    return prepare


def _included(yard: Yard, program: str) -> None:
    yard.file("config.inc", f'[core]\n\tfsmonitor = {program}\n[filter "f"]\n\tclean = {program}\n')
    yard.file(".git/info/attributes", "* filter=f\n")
    git(yard.workspace, "config", "include.path", "../config.inc")


def _submodule(yard: Yard, program: str) -> None:
    make(yard.workspace / "sub")
    (yard.workspace / "sub/a.txt").write_text("one\n")
    git(yard.workspace, "add", "sub")
    yard.file(".gitmodules", '[submodule "s"]\n\tpath = sub\n\turl = ./s\n\tignore = none\n')
    git(yard.workspace, "commit", "-qm", "submodule")
    inner = Yard.__new__(Yard)
    inner.workspace = yard.workspace / "sub"
    _attribute("* filter=f", filter__f__clean="PROGRAM", filter__f__smudge="PROGRAM")(inner, program)
    _set(core__fsmonitor="PROGRAM")(inner, program)
    os.utime(yard.workspace / "sub/a.txt", (1, 1))  # git would have to look into it


def _promisor(yard: Yard, program: str) -> None:
    """Objects that are missing and said to be had from a remote that is a program."""
    _set(
        extensions__partialClone="origin",
        remote__origin__promisor="true",
        remote__origin__url=f"ext::{program}",
        protocol__ext__allow="always",
        protocol__allow="always",
    )(yard, program)
    git(yard.workspace, "config", "core.repositoryFormatVersion", "1")
    blob = git(yard.workspace, "rev-parse", "HEAD:a.txt").strip()
    (yard.workspace / ".git/objects" / blob[:2] / blob[2:]).unlink()


TRAPS: dict[str, Callable[[Yard, str], None]] = {
    "hooks": _hooks,
    "hooks elsewhere": _hooks_elsewhere,
    "fsmonitor": _set(core__fsmonitor="PROGRAM"),
    "pager": _set(core__pager="PROGRAM", pager__log="PROGRAM", pager__diff="true", pager__branch="PROGRAM"),
    "editor": _set(core__editor="PROGRAM", sequence__editor="PROGRAM"),
    "external diff": _set(diff__external="PROGRAM"),
    "diff driver": _attribute("* diff=d", diff__d__command="PROGRAM"),
    "textconv": _attribute("* diff=d", diff__d__textconv="PROGRAM"),
    "filter": _attribute("* filter=f", filter__f__clean="PROGRAM", filter__f__smudge="PROGRAM"),
    "required filter": _attribute("* filter=f", filter__f__clean="PROGRAM", filter__f__required="true"),
    "filter process": _attribute("* filter=a/b.c-d", **{"filter__a/b.c-d__process": "PROGRAM"}),
    "filter of an odd name": _attribute("* filter=a=b", **{"filter__a=b__clean": "PROGRAM"}),
    "include": _included,
    "signing": _set(commit__gpgSign="true", gpg__program="PROGRAM", log__showSignature="true"),
    "ssh signing": _set(commit__gpgSign="true", gpg__format="ssh", gpg__ssh__program="PROGRAM", user__signingKey="x"),
    "key command": _set(gpg__format="ssh", gpg__ssh__defaultKeyCommand="PROGRAM", commit__gpgSign="true"),
    "aliases": _set(alias__status="!PROGRAM", alias__diff="!PROGRAM", alias__commit="!PROGRAM"),
    "merge driver": _attribute("* merge=m", merge__m__driver="PROGRAM"),
    "credential helper": _set(credential__helper="!PROGRAM", core__askPass="PROGRAM", core__sshCommand="PROGRAM"),
    "garbage": _set(gc__auto="1", gc__recentObjectsHook="PROGRAM", maintenance__auto="true"),
    "submodule": _submodule,
    "missing objects": _promisor,
    "other work tree": _set(core__worktree="/"),
    "trailers": _set(trailer__x__command="PROGRAM", trailer__x__ifMissing="add", trailer__x__cmd="PROGRAM"),
}


TOGETHER = [
    ["hooks", "fsmonitor", "pager", "editor", "external diff", "aliases", "credential helper", "garbage", "signing"],
    ["hooks elsewhere", "diff driver", "merge driver", "ssh signing", "other work tree", "trailers"],
    ["textconv", "key command", "filter process"],
    *(["filter"], ["required filter"], ["filter of an odd name"], ["include"], ["submodule"], ["missing objects"]),
]


def test_every_trap_is_set() -> None:
    assert sorted(trap for traps in TOGETHER for trap in traps) == sorted(TRAPS)


@pytest.mark.parametrize("traps", TOGETHER, ids=", ".join)
async def test_a_repository_cannot_make_the_tools_run_a_program(yard: Yard, traps: list[str]) -> None:
    for trap in traps:
        _trap(yard, trap)
    _sprung(yard)  # setting one may have sprung it
    fates = []
    for turn, (name, arguments) in enumerate(EVERY_CALL):
        yard.file("a.txt", "one\n")  # as committed, but git has to look
        os.utime(yard.workspace / "a.txt", (1, 1))
        yard.file("extra.txt", f"{turn}\n")
        try:
            await yard.git(name.removeprefix("git_"), **arguments)
            fates.append("done")
        except ToolError as error:
            fates.append(error.code)
        assert _sprung(yard) == [], f"{name} {arguments}"
    assert set(fates) <= {"done", "GIT_FAILED", "FILTERED", "NOTHING_TO_COMMIT"}
    assert fates.count("done") >= 4 or traps == ["filter of an odd name"]


@pytest.mark.parametrize("trap", ["hooks", "fsmonitor", "filter", "submodule", "textconv", "missing objects"])
def test_the_traps_are_sprung_by_git_alone(yard: Yard, trap: str) -> None:
    _trap(yard, trap)
    _sprung(yard)
    (yard.workspace / "a.txt").write_text("six\n")
    who = ("-c", "user.name=n", "-c", "user.email=e")
    for arguments in (["status"], ["diff"], ["log", "-p"], [*who, "commit", "-am", "x"]):
        subprocess.run(["git", *arguments], cwd=yard.workspace, check=False, capture_output=True, timeout=20)
    assert _sprung(yard) != []
