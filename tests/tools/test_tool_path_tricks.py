"""Path tricks, each tried with every tool that takes a path: nothing outside is shown or touched, and nothing hangs.

A trick is either refused by all of them with a clear error, or it is no trick at all but a name like any other: then
reading finds nothing there, and what is written stays in the workspace.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from activities.tools import TOOLS, ToolContext, ToolError, call
from session.policy import CommandPolicy, ToolPolicy
from tests.tools.room import Room
from tests.tools.tricks import LITERAL, REFUSED, prepared

REFUSALS = {
    *("OUTSIDE_WORKSPACE", "INVALID_ARGUMENTS", "NOT_FOUND", "NOT_A_FILE", "NOT_A_FOLDER", "IS_A_FOLDER"),
    *("SECRET_FILE", "GIT_FOLDER", "PERMISSION_DENIED", "INVALID_PATCH", "NOT_A_REPOSITORY"),
}


def patches(path: str) -> dict[str, str]:
    return {
        "change": f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-guessed\n+x\n",
        "bare": f"--- {path}\n+++ {path}\n@@ -1 +1 @@\n-inside\n+x\n",
        "create": f"--- /dev/null\n+++ {path}\n@@ -0,0 +1 @@\n+x\n",
        "delete": f"--- {path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-guessed\n",
        "rename to": f"diff --git a/src/a.txt b/x\nrename from src/a.txt\nrename to {path}\n",
        "rename from": f"diff --git a/x b/stolen\nrename from {path}\nrename to stolen\n",
        "copy from": f"diff --git a/x b/stolen\ncopy from {path}\ncopy to stolen\n",
    }


READING: dict[str, dict[str, Any]] = {
    "read_file": {"path": "PATH"},
    "edit_file": {"path": "PATH", "old_string": "secret", "new_string": "x"},
    "grep": {"path": "PATH", "pattern": "."},
    "search_files": {"directory": "PATH", "pattern": "*"},
    "directory_tree": {"path": "PATH"},
    "exec": {"workdir": "PATH", "command": "touch was_here; cat secret.txt"},
    "test_run": {"path": "PATH", "framework": "make"},
    "git_status": {"directory": "PATH"},
}
WRITING: list[tuple[str, dict[str, Any]]] = [
    ("write_file", {"path": "PATH", "content": "x"}),
    ("write_file", {"path": "PATH", "content": "x", "append": True}),
    ("write_file", {"path": "PATH", "content": "x", "createDirs": False}),
]


async def _tried(room: Room, name: str, arguments: dict[str, Any], path: str) -> str:
    """The code of the refusal, or what the tool answered."""
    filled = {key: value.replace("PATH", path) if isinstance(value, str) else value for key, value in arguments.items()}
    context = ToolContext(room.workspace, policy=ToolPolicy(commands=CommandPolicy(sandbox="off")))
    try:
        async with asyncio.timeout(10):
            output = await call(TOOLS[name], filled, context)
        fate, told = output.content, output.content
    except ToolError as error:
        fate, told = error.code, error.message + error.content
    assert told and "the secret" not in told and "root:" not in told
    return fate


def _placed(room: Room, path: str) -> str:
    places = {"workspace": room.workspace, "outside": room.outside, "parent": room.workspace.parent}
    for name, place in places.items():
        path = path.replace(f"{{{name}}}", str(place))
    return path


def _beyond(room: Room) -> dict[str, str]:
    """All that is beside the workspace, and the workspace's secrets."""
    parent = room.workspace.parent
    found = {}
    for place in parent.rglob("*"):
        secret = {".env", ".ssh", "conf", ".git"} & set(place.relative_to(parent).parts)
        if place.is_file() and not place.is_symlink() and (secret or not place.is_relative_to(room.workspace)):
            found[str(place)] = place.read_text()
    return found


@pytest.mark.parametrize("trick", REFUSED)
async def test_a_trick_is_refused_by_every_tool_and_nothing_outside_is_touched(room: Room, trick: str) -> None:
    prepared(room)
    path, before = _placed(room, REFUSED[trick]), _beyond(room)
    for name, arguments in [*READING.items(), *WRITING]:
        fate = await _tried(room, name, arguments, path)
        assert fate in REFUSALS, (name, fate)
    for kind, patch in patches(path).items():
        fate = await _tried(room, "patch_apply", {"patch": patch}, path)
        assert fate in REFUSALS | {"EXISTS", "NO_MATCH"}, (kind, fate)
    assert _beyond(room) == before
    assert not (room.workspace / "stolen").exists() and (room.workspace / "src/a.txt").read_text() == "inside\n"


@pytest.mark.parametrize("trick", LITERAL)
async def test_what_looks_like_a_trick_is_but_a_name(room: Room, trick: str) -> None:
    prepared(room)
    path, before = LITERAL[trick], _beyond(room)
    for name, arguments in READING.items():
        fate = await _tried(room, name, arguments, path)
        assert fate in REFUSALS, (name, fate)
    for name, arguments in WRITING:
        await _tried(room, name, arguments, path)
    for patch in patches(path).values():
        await _tried(room, "patch_apply", {"patch": patch}, path)
    assert _beyond(room) == before
    names = {entry.name for entry in room.workspace.parent.iterdir()}
    assert names == {"workspace", "outside", "workspace-evil", "WORKSPACE"}


def test_there_are_enough_tricks() -> None:
    print(f"{len(REFUSED)} path tricks refused by {len(READING) + 2} tools each, {len(LITERAL)} that are but names")
    assert len(REFUSED) >= 35 and len(LITERAL) >= 15


@pytest.mark.parametrize(
    "pattern", ["../outside/*", "../**", "/etc/*", "**/../../outside/*", "{outside}/*", "links/*/*"]
)
async def test_a_pattern_never_leads_out(room: Room, pattern: str) -> None:
    prepared(room)
    pattern = _placed(room, pattern)
    for name, arguments in (
        ("search_files", {"pattern": pattern}),
        ("grep", {"pattern": "secret|root", "glob": pattern}),
    ):
        told = await _tried(room, name, arguments, "")
        assert "secret.txt" not in told and "passwd" not in told


@pytest.mark.parametrize(
    "path", [".git/hooks/pre-commit", ".git/config", ".git/new/deep/x", ".GIT/hooks/x", "sub/.git"]
)
async def test_what_git_would_run_is_not_written(room: Room, path: str) -> None:
    room.file(".git/HEAD", "ref: refs/heads/main\n")
    room.file("sub/x", "")
    for name, arguments in WRITING:
        assert await _tried(room, name, arguments, path) in ("GIT_FOLDER", "SECRET_FILE")
    for kind in ("create", "rename to"):
        room.file("src/a.txt", "inside\n")
        assert await _tried(room, "patch_apply", {"patch": patches(path)[kind]}, path) in ("GIT_FOLDER", "SECRET_FILE")
    assert [each.name for each in (room.workspace / ".git").iterdir()] == ["HEAD"]
    assert not (room.workspace / "sub/.git").exists() and not (room.workspace / ".GIT").exists()
    assert await _tried(room, "read_file", {"path": "PATH"}, ".git/HEAD") == "ref: refs/heads/main\n"


async def test_a_hard_link_to_a_file_outside_is_replaced_and_not_written_through(room: Room) -> None:
    os.link(room.outside / "secret.txt", room.workspace / "hard.txt")
    patch = "--- a/hard.txt\n+++ b/hard.txt\n@@ -1 +1 @@\n-the secret\n+mine\n"
    await call(TOOLS["patch_apply"], {"patch": patch}, room.context())
    assert (room.workspace / "hard.txt").read_text() == "mine"
    assert (room.outside / "secret.txt").read_text() == "the secret"


@contextmanager
def _swapping(room: Room, target: str) -> Iterator[None]:
    """While this lasts, `door` is a folder, and then a link to `target`, over and over."""
    room.file("door/secret.txt", "inside\n")
    (room.workspace / "link").symlink_to(target)
    over = threading.Event()

    def swap() -> None:
        door, spare, link = (room.workspace / name for name in ("door", "spare", "link"))
        while not over.is_set():
            for old, new in ((door, spare), (link, door), (door, link), (spare, door)):
                old.rename(new)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("kind", ["outside", "secrets", "git"])
async def test_a_folder_swapped_for_a_link_while_tools_run_leads_nowhere(room: Room, kind: str) -> None:
    room.file(".ssh/secret.txt", "the secret")
    room.file(".git/hooks/secret.txt", "the secret")
    target = {"outside": str(room.outside), "secrets": ".ssh", "git": ".git/hooks"}[kind]
    tries: list[tuple[str, dict[str, Any]]] = [
        ("write_file", {"path": "door/secret.txt", "content": "inside\n", "createDirs": False}),
        ("write_file", {"path": "door/more.txt", "content": "x", "append": True, "createDirs": False}),
        ("patch_apply", {"patch": "--- a/door/secret.txt\n+++ b/door/secret.txt\n@@ -1 +1 @@\n-inside\n+inside!\n"}),
    ]
    if kind != "git":  # what is in .git may be read
        tries.append(("read_file", {"path": "door/secret.txt"}))
    before = {
        place: place.read_text()
        for place in (room.outside, room.workspace / ".ssh", room.workspace / ".git/hooks")
        for place in place.iterdir()
    }
    refusal = {"outside": "OUTSIDE_WORKSPACE", "secrets": "SECRET_FILE", "git": "GIT_FOLDER"}[kind]
    fates = Counter[str]()
    with _swapping(room, target):
        end = time.monotonic() + 20
        while min(fates["through"], fates[refusal]) < 150:
            assert time.monotonic() < end, fates
            for name, arguments in tries:
                fate = await _tried(room, name, arguments, "")
                fates[fate if fate in REFUSALS | {"CHANGED"} else "through"] += 1
    for place, content in before.items():
        assert place.read_text() == content
        assert {each.name for each in place.parent.iterdir()} == {place.name}
    with suppress(FileNotFoundError):
        assert "the secret" not in (room.workspace / "door/secret.txt").read_text()
