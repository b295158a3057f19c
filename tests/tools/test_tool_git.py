"""The git tools: what they do in a repository, and what a repository cannot make them do."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activities.tools import ToolContext, ToolError, call, git_branch, git_commit, git_diff, git_log, git_status
from activities.tools.repository import found
from activities.tools.sandbox import probe
from session.policy import CommandPolicy, ToolPolicy
from tests.tools.room import Room

TOOLS = {module.TOOL.name: module.TOOL for module in (git_branch, git_commit, git_diff, git_log, git_status)}
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


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Writer", "-c", "user.email=w@localhost", "-c", "init.defaultBranch=main")
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    program = ["git", *identity, *arguments]
    return subprocess.run(program, cwd=folder, check=True, capture_output=True, text=True, env=environment).stdout


class Yard(Room):
    """A room whose git tools run commands with limits alone, so that nothing but their own care confines them."""

    def context(self, **details: Any) -> ToolContext:
        return super().context(policy=ToolPolicy(commands=CommandPolicy(sandbox="off")), **details)

    async def git(self, name: str, /, **arguments: Any) -> str:
        return (await call(TOOLS[f"git_{name}"], arguments, self.context())).content

    async def git_refused(self, name: str, /, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.git(name, **arguments)
        return caught.value


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A repository with two commits, a branch, and a change."""
    yard = Yard(tmp_path)
    _make(yard.workspace)
    return yard


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "branch", "other")
    (folder / "b.txt").write_text("b\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "second\n\nwith a body")
    (folder / "a.txt").write_text("two\n")


async def test_the_status_tells_branch_and_changes(yard: Yard) -> None:
    yard.file("née.txt", "x")
    assert await yard.git("status") == "## main\n M a.txt\n?? née.txt\n"
    git(yard.workspace, "add", "-A")
    git(yard.workspace, "commit", "-qm", "third")
    assert await yard.git("status") == "## main\nnothing to commit, the working tree is clean\n"


async def test_a_diff_shows_what_is_asked_for(yard: Yard) -> None:
    change = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
    assert change in await yard.git("diff")
    assert await yard.git("diff", staged=True) == "[no differences]\n"
    assert await yard.git("diff", path="b.txt") == "[no differences]\n"
    assert change in await yard.git("diff", path=str(yard.workspace / "a.txt"))
    assert "+++ b/b.txt" in await yard.git("diff", ref="other")
    assert "a.txt" not in await yard.git("diff", ref="other..main")
    git(yard.workspace, "add", "-A")
    assert change in await yard.git("diff", staged=True)


async def test_a_file_may_be_named_like_a_pattern(yard: Yard) -> None:
    yard.file(":(top)a*.txt", "x\n")
    yard.file("*.txt", "y\n")
    await yard.git("commit", message="odd", paths=[":(top)a*.txt"])
    assert await yard.git("status") == "## main\n M a.txt\n?? *.txt\n"


async def test_the_log_tells_commits_the_newest_first(yard: Yard) -> None:
    told = await yard.git("log")
    assert "Writer <w@localhost>" in told and "    second\n    \n    with a body\n" in told
    assert told.index("second") < told.index("first")
    assert "first" not in await yard.git("log", maxCount=1)
    assert "second" not in await yard.git("log", path="a.txt")
    assert "second" not in await yard.git("log", ref="other")


async def test_a_commit_of_paths_takes_them_alone_and_one_of_all_takes_the_rest(yard: Yard) -> None:
    yard.file("new.txt", "n")
    yard.file("more/c.txt", "c")
    (yard.workspace / "b.txt").unlink()
    assert "committed" in await yard.git("commit", message="-m looks like an option\n\nbody", paths=["new.txt", "more"])
    assert git(yard.workspace, "log", "-1", "--format=%B|%an|%ae").strip() == (
        "-m looks like an option\n\nbody\n|Perdure|perdure@localhost"
    )
    assert await yard.git("status") == "## main\n M a.txt\n D b.txt\n"
    assert "2 files changed" in await yard.git("commit", message="rest", all=True)
    error = await yard.git_refused("commit", message="again", all=True)
    assert error.code == "NOTHING_TO_COMMIT"


async def test_a_commit_without_paths_takes_what_is_staged(yard: Yard) -> None:
    error = await yard.git_refused("commit", message="none")
    assert error.code == "NOTHING_TO_COMMIT" and "a.txt" in error.content
    git(yard.workspace, "add", "a.txt")
    yard.file("new.txt", "n")
    await yard.git("commit", message="staged")
    assert await yard.git("status") == "## main\n?? new.txt\n"


async def test_who_commits_is_the_repositorys_to_say(yard: Yard) -> None:
    git(yard.workspace, "config", "user.name", "Somebody")
    await yard.git("commit", message="m", all=True)
    assert git(yard.workspace, "log", "-1", "--format=%an %ae") == "Somebody perdure@localhost\n"


async def test_branches_are_listed_made_and_switched_to(yard: Yard) -> None:
    await yard.git("branch", name="topic/x", create=True)
    assert await yard.git("branch", name="other", switch=True) == "switched to other"
    assert await yard.git("branch", name="new", create=True, switch=True) == "created and switched to new"
    listed = await yard.git("branch")
    assert [line.split()[0] for line in listed.splitlines() if line[0] == " "] == ["main", "other", "topic/x"]
    assert "* new" in listed and not (yard.workspace / "b.txt").exists()
    assert (await yard.git_refused("branch", name="main", create=True)).code == "GIT_FAILED"
    assert (await yard.git_refused("branch", name="nowhere", switch=True)).code == "GIT_FAILED"
    assert (await yard.git_refused("branch", name="x")).code == "INVALID_ARGUMENTS"


async def test_a_switch_that_would_lose_changes_is_refused_by_git(yard: Yard) -> None:
    git(yard.workspace, "switch", "-q", "other", "--force")
    yard.file("a.txt", "changed on other\n")
    git(yard.workspace, "commit", "-qam", "other")
    yard.file("a.txt", "local\n")
    error = await yard.git_refused("branch", name="main", switch=True)
    assert error.code == "GIT_FAILED" and "a.txt" in error.content
    assert (yard.workspace / "a.txt").read_text() == "local\n"


def test_listing_branches_only_reads_and_the_rest_does_not() -> None:
    effect = git_branch.TOOL.effect_of
    assert effect is not None
    assert (effect({}), effect({"name": "x", "create": True})) == ("readOnly", "sideEffect")
    assert all(tool.runs_commands for tool in TOOLS.values())


async def test_a_repository_in_a_folder_of_the_workspace_is_found_by_that_folder(room: Room) -> None:
    yard = Yard(room.workspace)
    yard.workspace = room.workspace
    _make(room.workspace / "cloned")
    (room.workspace / "cloned/sub").mkdir()
    assert (await yard.git_refused("status")).code == "NOT_A_REPOSITORY"
    for directory in ("cloned", "cloned/sub"):
        assert "M a.txt" in await yard.git("status", directory=directory)
    assert "two" in await yard.git("diff", directory="cloned", path="cloned/a.txt")
    assert (await yard.git_refused("diff", directory="cloned", path="a.txt")).code == "OUTSIDE_WORKSPACE"


async def test_a_repository_above_the_workspace_is_never_found(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    _make(tmp_path)
    for name, arguments in CALLS.items():
        error = await yard.git_refused(name.removeprefix("git_"), **arguments)
        assert error.code == "NOT_A_REPOSITORY" and "git init" in error.message


@pytest.mark.parametrize("kind", ["file", "file_up", "link", "objects", "alternates", "commondir"])
async def test_a_repository_that_lies_partly_outside_is_refused(yard: Yard, kind: str) -> None:
    outside = yard.outside / "repo"
    _make(outside)
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


async def test_a_linked_work_tree_inside_the_workspace_works(yard: Yard) -> None:
    git(yard.workspace, "worktree", "add", "-q", "tree", "other")
    assert "## other" in await yard.git("status", directory="tree")
    yard.file("tree/t.txt", "t")
    await yard.git("commit", directory="tree", message="in the tree", paths=["tree/t.txt"])
    assert "in the tree" in await yard.git("log", ref="other")
    assert found(yard.workspace, "tree").relative == "tree"


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
    _make(yard.workspace / "sub")
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


async def test_what_filters_would_change_is_not_committed_without_them(yard: Yard) -> None:
    yard.file(".gitattributes", "*.bin filter=lfs diff=lfs\n")
    yard.file("big.bin", "content that belongs elsewhere")
    error = await yard.git_refused("commit", message="m", all=True)
    assert error.code == "FILTERED" and "big.bin" in error.message
    assert "?? big.bin" in await yard.git("status")


@pytest.mark.parametrize(
    "ref",
    [
        "--output=stolen",
        "-p",
        "--no-index",
        "--ext-diff",
        "--help",
        "-",
        "HEAD:.env",
        ":/first",
        ":0:a.txt",
        "main other",
        "main\n--output=x",
        "a*",
        "",
        "\\x",
    ],
)
async def test_a_ref_is_never_an_option_a_path_or_a_search(yard: Yard, ref: str) -> None:
    yard.file(".env", "KEY=very-secret")
    git(yard.workspace, "add", "-f", ".env")
    git(yard.workspace, "commit", "-qm", "env")
    for name, arguments in (("diff", {"ref": ref}), ("log", {"ref": ref}), ("branch", {"name": ref, "switch": True})):
        assert (await yard.git_refused(name, **arguments)).code == "INVALID_ARGUMENTS"
    assert sorted(each.name for each in yard.workspace.iterdir()) == [".env", ".git", "a.txt", "b.txt"]


@pytest.mark.parametrize("path", ["../outside/secret.txt", "/etc/passwd", "{outside}/secret.txt", "a/../../outside"])
async def test_a_path_outside_is_refused(yard: Yard, path: str) -> None:
    path = path.replace("{outside}", str(yard.outside))
    for name, arguments in (
        ("diff", {"path": path}),
        ("log", {"path": path}),
        ("commit", {"message": "m", "paths": [path]}),
        ("status", {"directory": path}),
    ):
        assert (await yard.git_refused(name, **arguments)).code in ("OUTSIDE_WORKSPACE", "NOT_FOUND")


async def test_secret_files_are_neither_shown_nor_committed(yard: Yard) -> None:
    yard.file("conf/.env", "KEY=old-secret\n")
    yard.file("moved.txt", "MOVED=old-secret\n")
    git(yard.workspace, "add", "-A")
    git(yard.workspace, "commit", "-qm", "a secret")
    yard.file("conf/.env", "KEY=very-secret\n")
    for asked in ({}, {"ref": "HEAD"}, {"path": "conf"}, {"ref": "HEAD~1..HEAD", "path": "conf"}):
        told = await yard.git("diff", **asked)
        assert "not shown: conf/.env" in told and "secret\n" not in told and "KEY" not in told
    assert (await yard.git_refused("diff", path="conf/.env")).code == "SECRET_FILE"
    chosen: list[dict[str, Any]] = [{"all": True}, {"paths": ["conf"]}, {"paths": ["conf/.env"]}]
    for these in chosen:
        assert (await yard.git_refused("commit", message="m", **these)).code == "SECRET_FILE"
    git(yard.workspace, "add", "-A")
    assert (await yard.git_refused("commit", message="m")).code == "SECRET_FILE"
    git(yard.workspace, "rm", "-q", "--cached", "conf/.env")
    assert "committed" in await yard.git("commit", message="the secret is gone")


async def test_the_tools_work_inside_the_sandbox_as_well(yard: Yard) -> None:
    context = Room.context(yard, sandbox_only=True)
    if not probe().works:
        with pytest.raises(ToolError, match="SANDBOX_UNAVAILABLE"):
            await call(TOOLS["git_status"], {}, context)
        return
    assert "M a.txt" in (await call(TOOLS["git_status"], {}, context)).content
    await call(TOOLS["git_commit"], {"message": "sandboxed", "all": True}, context)
    assert "sandboxed" in git(yard.workspace, "log", "-1")


async def test_a_long_diff_is_shown_at_both_ends(yard: Yard) -> None:
    yard.file("a.txt", "".join(f"line {number}\n" for number in range(20_000)))
    output = await call(TOOLS["git_diff"], {}, yard.context())
    assert output.truncated and len(output.content) < 50_000
    assert "+line 0\n" in output.content and "+line 19999\n" in output.content
