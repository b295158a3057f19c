"""search_files, grep and directory_tree."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from activities.tools import TOOLS, call
from activities.tools import scan as scanning
from tests.tools.room import Room, running, until

CATASTROPHE = r"^(a+)+$"


@pytest.fixture
def project(room: Room) -> Room:
    files: dict[str, str | bytes] = {
        ".gitignore": "*.log\n/build/\nnode_modules/\n!keep.log\n",
        ".git/config": "needle",
        "README.md": "a needle here\n",
        "build/out.py": "needle",
        "keep.log": "needle\n",
        "drop.log": "needle",
        "src/.gitignore": "generated.py\n!special.log\n",
        "src/app.py": "import os\n\ndef main():\n    needle = 1\n    return needle\n\nmain()\n",
        "src/generated.py": "needle",
        "src/special.log": "needle\n",
        "src/web/index.ts": "const x = 1\n",
        "src/web/node_modules/dep/index.ts": "needle",
        "tests/test_app.py": "from src import app\n",
        "data.bin": b"needle\0needle",
    }
    for path, content in files.items():
        room.file(path, content)
    (room.workspace / "out").symlink_to(room.outside)
    (room.workspace / "src/up").symlink_to("..")
    return room


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"pattern": "*.py"}, ["src/app.py", "tests/test_app.py"]),
        ({"pattern": "*.log"}, ["keep.log", "src/special.log"]),
        ({"pattern": "src/*.py"}, ["src/app.py"]),
        ({"pattern": "**/*.ts"}, ["src/web/index.ts"]),
        (
            {"pattern": "./src/**"},
            ["src/.gitignore", "src/app.py", "src/special.log", "src/up", "src/web/index.ts"],
        ),
        ({"pattern": "*.{md,ts}"}, ["README.md", "src/web/index.ts"]),
        ({"pattern": "app"}, ["src/app.py", "tests/test_app.py"]),
        ({"pattern": "[!t]*.py"}, ["src/app.py"]),
        ({"pattern": "?pp.py", "directory": "src"}, ["src/app.py"]),
        ({"pattern": "web/*.ts", "directory": "src"}, ["src/web/index.ts"]),
        ({"pattern": "*.py", "directory": "build"}, ["build/out.py"]),
        ({"pattern": "config"}, ["[no file matches]"]),
        ({"pattern": "secret.txt"}, ["[no file matches]"]),
    ],
)
async def test_files_are_found_by_name_without_what_git_ignores(
    project: Room, asked: dict[str, Any], found: list[str]
) -> None:
    assert (await project.says("search_files", **asked)).splitlines() == found


async def test_no_more_files_are_listed_than_asked_for(project: Room) -> None:
    output = await project.call("search_files", pattern="*.py", maxResults=1)
    assert output.truncated
    assert output.content.startswith("src/app.py\n[stopped at 1 results")


async def test_the_tree_shows_folders_files_and_links_to_the_asked_depth(project: Room) -> None:
    assert (await project.says("directory_tree", path="src")).splitlines() == [
        "src/",
        *("  .gitignore", "  app.py", "  special.log", "  up (link)", "  web/", "    index.ts"),
    ]
    shallow = (await project.says("directory_tree", depth=1)).splitlines()
    top = [".gitignore", "README.md", "data.bin", "keep.log", "out (link)", "src/", "tests/"]
    assert shallow == ["./", *(f"  {name}" for name in top)]


async def test_a_hostile_name_stays_on_its_line(room: Room) -> None:
    room.file("a\nb.txt", "needle\n")
    (room.workspace / os.fsdecode(b"\xff.txt")).write_text("needle\n")
    assert await room.says("search_files", pattern="*.txt") == "a\\x0ab.txt\n\\xfffd.txt".replace("\\xfffd", "\ufffd")


async def test_grep_gives_path_line_and_text(project: Room) -> None:
    assert (await project.says("grep", pattern="needle")).splitlines() == [
        "README.md:1:a needle here",
        "keep.log:1:needle",
        "src/app.py:4:    needle = 1",
        "src/app.py:5:    return needle",
        "src/special.log:1:needle",
    ]


async def test_grep_shows_context_and_parts_groups(project: Room) -> None:
    assert (await project.says("grep", pattern="^import|^main|Needle|^a ", context=1)).splitlines() == [
        "README.md:1:a needle here",
        "--",
        "src/app.py:1:import os",
        "src/app.py-2-",
        "--",
        "src/app.py-6-",
        "src/app.py:7:main()",
    ]
    joined = await project.says("grep", pattern="needle", path="src/app.py", context=1)
    assert joined.splitlines() == [
        *("src/app.py-3-def main():", "src/app.py:4:    needle = 1"),
        *("src/app.py:5:    return needle", "src/app.py-6-"),
    ]


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ({"glob": "*.md"}, ["README.md:1:a needle here"]),
        (
            {"path": "src", "glob": "*.py", "maxResults": 1},
            ["src/app.py:4:    needle = 1", "[stopped at 1 results"],
        ),
        ({"path": "src/generated.py"}, ["src/generated.py:1:needle"]),
        ({"path": "src/up/README.md"}, ["README.md:1:a needle here"]),
        ({"path": "data.bin"}, ["[no match in 0 text files]"]),
        ({"path": "tests"}, ["[no match in 1 text file]"]),
    ],
)
async def test_grep_is_narrowed_by_path_glob_and_number(project: Room, asked: dict[str, Any], lines: list[str]) -> None:
    shown = (await project.says("grep", pattern="needle", **asked)).splitlines()
    assert [line[: len(part)] for line, part in zip(shown, lines, strict=True)] == lines


async def test_an_invalid_expression_says_what_is_wrong_with_it(room: Room) -> None:
    error = await room.refused("grep", pattern="a(b")
    assert error.code == "INVALID_ARGUMENTS"
    assert "unterminated subpattern at position 1" in error.message


async def test_a_match_far_into_a_long_line_is_shown_with_what_is_around_it(room: Room) -> None:
    room.file("a.txt", "x" * 9_000 + "needle" + "y" * 90_000_000 + "\nnext needle\n")
    shown = (await room.says("grep", pattern="needle")).splitlines()
    assert [line.split(":", 2)[1] for line in shown] == ["1", "2"]
    assert "needle" in shown[0]
    assert len(shown[0]) < 500


async def test_a_catastrophic_expression_is_killed_and_what_was_found_is_kept(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "SECONDS", 0.3)
    room.file("1.txt", "aaa\n")
    room.file("2.txt", "a" * 60 + "!\n")
    pauses: list[float] = []
    beats = asyncio.create_task(_beats(pauses))
    begun = time.monotonic()
    error = await room.refused("grep", pattern=CATASTROPHE)
    assert time.monotonic() - begun < 10
    assert (error.code, error.content) == ("TIMEOUT", "1.txt:1:aaa")
    beats.cancel()
    assert max(pauses) < 2  # the loop went on all the while


async def _beats(pauses: list[float]) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        pauses.append(time.monotonic() - before)


async def test_a_hostile_gitignore_is_killed_too(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "SECONDS", 0.3)
    room.file(".gitignore", "*a" * 30 + "b\n")
    room.file("a" * 200, "x")
    assert (await room.refused("directory_tree")).code == "TIMEOUT"


async def test_a_cancelled_search_leaves_no_process(room: Room) -> None:
    room.file("2.txt", "a" * 60 + "!\n")
    task = asyncio.create_task(room.call("grep", pattern=CATASTROPHE))
    scanner = f"{Path(scanning.SCANNER)}"
    await until(lambda: running(scanner), 5)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 2
    assert not _mine(scanner)


def _mine(text: str) -> list[int]:
    """Those of the processes that are this one's children."""
    own = []
    for pid in running(text):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own += [pid] if int(fields[1]) == os.getpid() else []
    return own


async def test_a_deep_and_wide_workspace_is_searched_within_its_bounds(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = room.workspace
    for _ in range(150):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x.txt").write_text("needle")
    for number in range(3_000):
        (room.workspace / f"{number}.txt").touch()
    output = await room.call("search_files", pattern="*.txt", maxResults=2_000)
    assert output.truncated
    assert len(output.content.splitlines()) == 2_001
    monkeypatch.setattr(scanning, "SECONDS", 0.0)
    assert "out of time" in (await call(TOOLS["grep"], {"pattern": "x"}, room.context())).content
