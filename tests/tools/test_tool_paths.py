"""Paths are confined to the workspace, symbolic links included, also those made while a call runs."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from activities.tools import ToolError
from activities.tools.confine import located
from tests.tools.room import Room

SWAPPER = """
import os, sys
workspace, target = sys.argv[1:]
os.chdir(workspace)
os.symlink(target, "link")
print("ready", flush=True)
while True:
    os.rename("door", "room"); os.rename("link", "door")
    os.rename("door", "link"); os.rename("room", "door")
"""


def _links(room: Room) -> None:
    """Links of every kind; `in` ones stay inside, `out` ones leave."""
    room.file("src/a.txt", "inside")
    links: dict[str, str | Path] = {
        "out_file": room.outside / "secret.txt",
        "out_folder": room.outside,
        "out_root": "/",
        "out_relative": "../outside/secret.txt",
        "src/out_up": "../../outside",
        "out_chain": "out_folder",
        "out_missing": "../nowhere",
        "out_back": "../workspace/../outside/secret.txt",
        "loop_a": "loop_b",
        "loop_b": "loop_a",
        "in_file": "src/a.txt",
        "in_folder": "src",
        "in_absolute": room.workspace / "src",
        "in_up": "src/../src/a.txt",
        "in_chain": "in_folder/a.txt",
        "src/in_above": "../src/a.txt",
        "broken": "src/none.txt",
    }
    for name, target in links.items():
        (room.workspace / name).symlink_to(target)


OUTSIDE = [
    "..",
    "../outside/secret.txt",
    "src/../../outside/secret.txt",
    "./src/.././../outside/secret.txt",
    "../workspace/src/a.txt",
    "/",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "{workspace}/../outside/secret.txt",
    "{workspace}-2/secret.txt",
    "{outside}/secret.txt",
    "out_file",
    "out_folder/secret.txt",
    "out_root/etc/passwd",
    "out_relative",
    "src/out_up/secret.txt",
    "out_chain/secret.txt",
    "out_back",
    "out_missing",
    "in_folder/../../outside/secret.txt",
    "in_folder/out_up/secret.txt",
]
OTHER = [
    ("none.txt", "NOT_FOUND"),
    ("none/../src/a.txt", "NOT_FOUND"),
    ("src/a.txt/../a.txt", "NOT_A_FOLDER"),
    ("src/a.txt/b", "NOT_A_FOLDER"),
    ("~/secret.txt", "NOT_FOUND"),
    ("file:///etc/passwd", "NOT_FOUND"),
    ("%2e%2e/outside/secret.txt", "NOT_FOUND"),
    ("..\\outside\\secret.txt", "NOT_FOUND"),
    ("broken", "NOT_FOUND"),
    ("loop_a", "INVALID_ARGUMENTS"),
    ("src/a\0.txt", "INVALID_ARGUMENTS"),
    ("x" * 256, "INVALID_ARGUMENTS"),
    ("x/" * 3_000, "INVALID_ARGUMENTS"),
    ("src", "IS_A_FOLDER"),
    (".", "IS_A_FOLDER"),
]
INSIDE = [
    "src/a.txt",
    "./src//a.txt",
    "src/../src/a.txt",
    "{workspace}/src/a.txt",
    "in_file",
    "in_folder/a.txt",
    "in_folder/../src/a.txt",
    "in_absolute/a.txt",
    "in_up",
    "in_chain",
    "src/in_above",
]


def _filled(path: str, room: Room) -> str:
    return path.replace("{workspace}", str(room.workspace)).replace("{outside}", str(room.outside))


@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_path_that_leaves_the_workspace_is_refused_by_every_tool(room: Room, path: str) -> None:
    _links(room)
    path = _filled(path, room)
    for name, arguments in {
        "read_file": {"path": path},
        "write_file": {"path": path, "content": "x"},
        "edit_file": {"path": path, "old_string": "secret", "new_string": "x"},
        "grep": {"path": path, "pattern": "secret"},
        "search_files": {"directory": path, "pattern": "*"},
        "directory_tree": {"path": path},
        "exec": {"workdir": path, "command": "touch was_here"},
    }.items():
        error = await room.refused(name, **arguments)
        assert error.code == "OUTSIDE_WORKSPACE" and "out of the workspace" in error.message
    assert [each.name for each in room.outside.iterdir()] == ["secret.txt"]
    assert (room.outside / "secret.txt").read_text() == "the secret"


@pytest.mark.parametrize(("path", "code"), OTHER)
async def test_a_path_that_leads_to_nothing_readable_says_why(room: Room, path: str, code: str) -> None:
    _links(room)
    assert (await room.refused("read_file", path=path)).code == code


@pytest.mark.parametrize("path", INSIDE)
async def test_a_path_that_stays_inside_works_links_included(room: Room, path: str) -> None:
    _links(room)
    assert await room.says("read_file", path=_filled(path, room)) == "inside"


async def test_a_workspace_reached_through_a_link_may_be_named_either_way(room: Room, tmp_path: Path) -> None:
    real, room.workspace = room.workspace, tmp_path / "by_link"
    room.workspace.symlink_to(real)
    (real / "a.txt").write_text("inside")
    for root in (real, room.workspace):
        assert await room.says("read_file", path=f"{root}/a.txt") == "inside"


async def test_the_workspace_is_made_when_it_is_missing(room: Room, tmp_path: Path) -> None:
    room.workspace = tmp_path / "new" / "workspace"
    assert await room.says("directory_tree") == "./\n  [empty]"
    assert room.workspace.is_dir()


async def test_writing_through_a_link_changes_what_it_points_to_and_keeps_the_link(room: Room) -> None:
    _links(room)
    await room.call("write_file", path="in_chain", content="new")
    assert (room.workspace / "src/a.txt").read_text() == "new"
    assert (room.workspace / "in_chain").is_symlink()


async def test_what_is_no_regular_file_is_refused_at_once(room: Room) -> None:
    os.mkfifo(room.workspace / "fifo")
    begun = time.monotonic()
    assert (await room.refused("read_file", path="fifo")).code == "NOT_A_FILE"
    assert (await room.refused("write_file", path="fifo", content="x")).code == "NOT_A_FILE"
    assert (await room.refused("write_file", path="fifo", content="x", append=True)).code == "NOT_A_FILE"
    assert (await room.refused("edit_file", path="fifo", old_string="a", new_string="b")).code == "NOT_A_FILE"
    assert (await room.refused("grep", path="fifo", pattern="x")).code == "NOT_A_FILE"
    assert "no match" in await room.says("grep", pattern="x")
    assert time.monotonic() - begun < 5


async def test_a_hard_link_is_never_written_through(room: Room) -> None:
    os.link(room.outside / "secret.txt", room.workspace / "hard.txt")
    assert (await room.refused("write_file", path="hard.txt", content="x", append=True)).code == "OUTSIDE_WORKSPACE"
    await room.call("write_file", path="hard.txt", content="mine")
    assert (room.workspace / "hard.txt").read_text() == "mine"
    assert (room.outside / "secret.txt").read_text() == "the secret"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
def test_a_file_swapped_for_a_link_between_check_and_use_is_not_opened(room: Room, flags: int) -> None:
    place = room.file("a.txt", "inside")
    with located(room.workspace, "a.txt") as found:
        place.unlink()
        place.symlink_to(room.outside / "secret.txt")
        with pytest.raises(ToolError) as caught:
            found.open_file(flags)
    assert caught.value.code == "OUTSIDE_WORKSPACE"


async def test_a_folder_that_turns_into_a_link_and_back_never_leads_outside(room: Room) -> None:
    room.file("door/secret.txt", "inside")
    await _try_the_door(
        room,
        room.outside,
        lambda: room.says("read_file", path="door/secret.txt"),
        lambda: room.says("write_file", path="door/secret.txt", content="inside", createDirs=False),
        lambda: room.says("write_file", path="door/more.txt", content="x", append=True, createDirs=False),
    )


async def test_a_file_that_turns_into_a_link_and_back_never_leads_outside(room: Room) -> None:
    room.file("door", "inside")
    await _try_the_door(
        room,
        room.outside / "secret.txt",
        lambda: room.says("read_file", path="door"),
        lambda: room.says("write_file", path="door", content="x", append=True),
    )


async def _try_the_door(room: Room, target: Path, *acts: Callable[[], Awaitable[str]]) -> None:
    """Do all acts while `door` is a link to `target` half of the time, until both of its states were met often."""
    program = (sys.executable, "-c", SWAPPER, str(room.workspace), str(target))
    swapper = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    try:
        assert swapper.stdout is not None
        assert await swapper.stdout.readline() == b"ready\n"
        await _acted(acts)
        assert swapper.returncode is None
    finally:
        swapper.kill()
        await swapper.communicate()
    assert [each.name for each in room.outside.iterdir()] == ["secret.txt"]
    assert (room.outside / "secret.txt").read_text() == "the secret"


async def _acted(acts: Sequence[Callable[[], Awaitable[str]]]) -> None:
    fates = {"through": 0, "OUTSIDE_WORKSPACE": 0}
    end = time.monotonic() + 20
    while min(fates.values()) < 200:
        assert time.monotonic() < end, fates
        for act in acts:
            try:
                assert "the secret" not in await act()
                fates["through"] += 1
            except ToolError as error:
                fates[error.code] = fates.get(error.code, 0) + 1
    assert set(fates) <= {"through", "OUTSIDE_WORKSPACE", "NOT_FOUND", "NOT_A_FOLDER", "INVALID_ARGUMENTS"}
