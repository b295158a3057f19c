"""The git tools: what they do in a repository."""

from typing import Any

import pytest

from activities.tools import TOOLS, ToolError, call
from activities.tools.repository import found
from activities.tools.sandbox import probe
from tests.tools.room import Room
from tests.tools.yard import Yard, git, make


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
    effect = TOOLS["git_branch"].effect_of
    assert effect is not None
    assert (effect({}), effect({"name": "x", "create": True})) == ("readOnly", "sideEffect")
    assert all(tool.runs_commands for name, tool in TOOLS.items() if name.startswith("git_"))


async def test_a_repository_in_a_folder_of_the_workspace_is_found_by_that_folder(room: Room) -> None:
    yard = Yard(room.workspace)
    yard.workspace = room.workspace
    make(room.workspace / "cloned")
    (room.workspace / "cloned/sub").mkdir()
    assert (await yard.git_refused("status")).code == "NOT_A_REPOSITORY"
    for directory in ("cloned", "cloned/sub"):
        assert "M a.txt" in await yard.git("status", directory=directory)
    assert "two" in await yard.git("diff", directory="cloned", path="cloned/a.txt")
    assert (await yard.git_refused("diff", directory="cloned", path="a.txt")).code == "OUTSIDE_WORKSPACE"


async def test_a_linked_work_tree_inside_the_workspace_works(yard: Yard) -> None:
    git(yard.workspace, "worktree", "add", "-q", "tree", "other")
    assert "## other" in await yard.git("status", directory="tree")
    yard.file("tree/t.txt", "t")
    await yard.git("commit", directory="tree", message="in the tree", paths=["tree/t.txt"])
    assert "in the tree" in await yard.git("log", ref="other")
    assert found(yard.workspace, "tree").relative == "tree"


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
