"""patch_apply: a diff over several files, all of it or nothing."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from activities.tools import ToolError, call, files
from activities.tools.patch_apply import TOOL
from tests.tools.room import Room

POEM = "".join(f"line {number}\n" for number in range(1, 21))


async def patched(room: Room, patch: str) -> str:
    return (await call(TOOL, {"patch": patch}, room.context())).content


async def refused(room: Room, patch: str) -> ToolError:
    before = _all(room.workspace)
    with pytest.raises(ToolError) as caught:
        await patched(room, patch)
    assert _all(room.workspace) == before
    return caught.value


def _all(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def _hunk(*lines: str, at: int = 1) -> str:
    old, new = (sum(not line.startswith(mark) for line in lines) for mark in "+-")
    return f"@@ -{at},{old} +{at},{new} @@\n" + "".join(f"{line}\n" for line in lines)


def _diff(path: str, *hunks: str) -> str:
    return f"--- a/{path}\n+++ b/{path}\n" + "".join(hunks)


LINK = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n"
FIVE = _hunk(" line 4", "-line 5", "+line five", " line 6", at=4)


async def test_one_patch_changes_creates_deletes_and_renames(room: Room) -> None:
    room.file("poem.txt", POEM)
    room.file("old.txt", "gone\n")
    room.file("src/a.py", "a = 1\nb = 2\n")
    patch = (
        f"Some words first.\n\ndiff --git a/poem.txt b/poem.txt\nindex 1..2 100644\n{_diff('poem.txt', FIVE)}"
        "diff --git a/new/deep/run.sh b/new/deep/run.sh\nnew file mode 100755\n--- /dev/null\n+++ b/new/deep/run.sh\n"
        "@@ -0,0 +1,2 @@\n+#!/bin/sh\n+true\n"
        "diff --git a/old.txt b/old.txt\ndeleted file mode 100644\n--- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"
        "diff --git a/src/a.py b/lib/b.py\nsimilarity index 50%\nrename from src/a.py\nrename to lib/b.py\n"
        "--- a/src/a.py\n+++ b/lib/b.py\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"
    )
    told = await patched(room, patch)
    assert told.splitlines() == [
        "applied to 4 files:",
        "changed poem.txt (1 hunk)",
        "created new/deep/run.sh",
        "deleted old.txt",
        "renamed src/a.py to lib/b.py (1 hunk)",
    ]
    assert _all(room.workspace) == {
        "poem.txt": POEM.replace("line 5", "line five").encode(),
        "new/deep/run.sh": b"#!/bin/sh\ntrue\n",
        "lib/b.py": b"a = 1\nb = 3\n",
    }
    assert os.access(room.workspace / "new/deep/run.sh", os.X_OK)


@pytest.mark.parametrize(
    "patch",
    [
        _diff("poem.txt", FIVE),
        _diff("poem.txt", FIVE).replace("a/", "").replace("b/", ""),
        _diff("poem.txt", FIVE).replace("-4,3 +4,3", "-17,3 +17,3"),  # numbers that drifted
        _diff("poem.txt", FIVE).replace("-4,3 +4,3", "-4,9 +4,7"),  # counts that do not add up
        _diff("poem.txt", FIVE).replace("@@ -4,3 +4,3 @@", "@@"),
        _diff("poem.txt", FIVE).replace("@@ -4,3 +4,3 @@", "@@ a place @@"),
        _diff("poem.txt", FIVE).replace("\n", "\r\n"),
        _diff("poem.txt", FIVE) + "\n\n",
        _diff("poem.txt", FIVE) + "-- \n2.39.5\n",
        f"```diff\n{_diff('poem.txt', FIVE)}```\n",
        _diff("poem.txt", FIVE).replace("+++ b/poem.txt", "+++ b/poem.txt\t2024-01-01 00:00:00"),
        _diff("./poem.txt", FIVE),
    ],
)
async def test_what_models_write_instead_of_an_exact_diff_is_understood(room: Room, patch: str) -> None:
    place = room.file("poem.txt", POEM)
    assert "changed poem.txt" in await patched(room, patch)
    assert place.read_text() == POEM.replace("line 5", "line five")


async def test_a_hunk_that_was_found_elsewhere_is_told(room: Room) -> None:
    room.file("poem.txt", "new first\n" * 3 + POEM)
    assert "(1 hunk: hunk 1 found 3 lines lower)" in await patched(room, _diff("poem.txt", FIVE))


async def test_nothing_is_written_when_one_hunk_of_one_file_does_not_fit(room: Room) -> None:
    room.file("a.txt", POEM)
    room.file("b.txt", POEM.replace("line 6", "line six"))
    error = await refused(room, _diff("a.txt", FIVE) + _diff("b.txt", _hunk(" line 1", "-line 2"), FIVE))
    assert error.code == "NO_MATCH"
    assert "nothing was changed" in error.message and "b.txt" in error.message and "hunk 2" in error.message
    assert "expected:\n  line 4\n  line 5\n  line 6\n" in error.content
    assert "found from line 4 on (the first that differs is line 6):\n  line 4\n  line 5\n  line six" in error.content


async def test_every_fault_of_a_patch_is_told_at_once(room: Room) -> None:
    room.file("a.txt", POEM)
    patch = _diff("a.txt", _hunk("-nowhere"), _hunk("-neither")) + _diff("none.txt", FIVE)
    error = await refused(room, patch)
    assert "and 2 more faults" in error.message
    assert all(told in error.content for told in ("nowhere", "neither", "none.txt"))


async def test_a_hunk_that_fits_at_several_places_goes_where_its_number_says_or_nowhere(room: Room) -> None:
    place = room.file("a.txt", "x\ny\n" * 5)
    error = await refused(room, _diff("a.txt", _hunk(" x", "-y", "+z", at=2)))
    assert error.code == "NOT_UNIQUE" and "lines 1, 3, 5, 7, 9" in error.message
    await patched(room, _diff("a.txt", _hunk(" x", "-y", "+z", at=5)))
    assert place.read_text() == "x\ny\nx\ny\nx\nz\nx\ny\nx\ny\n"


async def test_two_hunks_never_claim_the_same_lines(room: Room) -> None:
    room.file("a.txt", POEM)
    assert (await refused(room, _diff("a.txt", FIVE, FIVE))).code == "NOT_UNIQUE"


@pytest.mark.parametrize(
    ("patch", "code", "told"),
    [
        ("", "INVALID_ARGUMENTS", "patch"),
        ("just words", "INVALID_PATCH", "no file"),
        (_hunk("-line 1"), "INVALID_PATCH", "line 1 begins a hunk"),
        ("*** Begin Patch\n*** Update File: poem.txt\n-a\n+b\n", "INVALID_PATCH", "no file"),
        (_diff("poem.txt"), "INVALID_PATCH", "changes nothing"),
        (_diff("poem.txt", _hunk(" line 1")), "INVALID_PATCH", "changes nothing"),
        (_diff("poem.txt", "@@ -1,1 +1,1 @@\n"), "INVALID_PATCH", "empty"),
        (_diff("poem.txt", "@@ -1,9 +1,9 @@\n line 1\n-line 2\nline 3\n+x\n"), "INVALID_PATCH", "line 6"),
        (_diff("none.txt", FIVE), "NOT_FOUND", "none.txt"),
        (_diff("poem.txt", "@@ -0,0 +1 @@\n+x\n"), "NO_MATCH", "where it belongs"),
        (_diff("bytes.bin", FIVE), "BINARY_FILE", "UTF-8"),
        (_diff("folder", FIVE), "IS_A_FOLDER", "folder"),
        (f"--- /dev/null\n+++ b/poem.txt\n{_hunk('+x')}", "EXISTS", "exists already"),
        (f"--- a/poem.txt\n+++ /dev/null\n{_hunk('-line 1')}", "NO_MATCH", "deleted"),
        (f"--- a/poem.txt\n+++ /dev/null\n{_hunk(' line 1')}", "INVALID_PATCH", "kept"),
        ("diff --git a/poem.txt b/poem.txt\ndeleted file mode 100644\n", "NO_MATCH", "deleted"),
        (f"--- /dev/null\n+++ /dev/null\n{_hunk('+x')}", "INVALID_PATCH", "no name"),
        ("diff --git a/poem.txt b/b.txt\nrename from poem.txt\nrename to bytes.bin\n", "EXISTS", "bytes.bin"),
        (LINK, "INVALID_PATCH", "link"),
        (LINK.replace("120000", "160000"), "INVALID_PATCH", "160000"),
        ("diff --git a/a.png b/a.png\nindex 1..2\nGIT binary patch\nliteral 0\n", "INVALID_PATCH", "binary"),
    ],
)
async def test_what_cannot_be_applied_is_refused_with_the_reason(room: Room, patch: str, code: str, told: str) -> None:
    room.file("poem.txt", POEM)
    room.file("bytes.bin", b"\xff\xfe line 5")
    room.file("folder/x", "")
    error = await refused(room, patch)
    assert error.code == code and told in error.message


async def test_ends_of_files_and_lines_are_kept(room: Room) -> None:
    crlf = room.file("crlf.txt", POEM.replace("\n", "\r\n"))
    bare = room.file("bare.txt", "one\ntwo")
    odd = room.file("odd.txt", "one\x0c\u2028two\nthree\n")
    await patched(
        room,
        _diff("crlf.txt", FIVE)
        + _diff("bare.txt", "@@ -1,2 +1,2 @@\n-one\n+1\n two\n\\ No newline at end of file\n")
        + _diff("odd.txt", "@@ -2 +2 @@\n-three\n+3\n"),
    )
    assert crlf.read_bytes() == POEM.replace("line 5", "line five").replace("\n", "\r\n").encode()
    assert bare.read_bytes() == b"1\ntwo"
    assert odd.read_text() == "one\x0c\u2028two\n3\n"
    await patched(room, _diff("bare.txt", "@@ -2 +2 @@\n-two\n\\ No newline at end of file\n+2\n"))
    assert bare.read_bytes() == b"1\n2\n"


async def test_removed_lines_that_look_like_headers_are_lines(room: Room) -> None:
    place = room.file("query.sql", "select 1\n-- a comment\n++ odd\nselect 2\n")
    hunk = "@@ -1,4 +1,3 @@\n select 1\n--- a comment\n-++ odd\n+++ plus\n select 2\n"
    await patched(room, _diff("query.sql", hunk))
    assert place.read_text() == "select 1\n++ plus\nselect 2\n"


async def test_one_file_may_come_twice_and_be_created_and_changed(room: Room) -> None:
    patch = f"--- /dev/null\n+++ b/n.txt\n{_hunk('+a', '+b')}" + _diff("n.txt", _hunk(" a", "-b", "+c"))
    await patched(room, patch)
    assert (room.workspace / "n.txt").read_text() == "a\nc\n"


async def test_a_write_that_fails_half_way_is_put_back(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        room.file(name, POEM)
    real = files.replace

    def full(*arguments: object) -> bool:
        place = arguments[0]
        if getattr(place, "name", "") == "c.txt":
            raise OSError(28, "No space left on device")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("activities.tools.plan.replace", full)
    created = f"--- /dev/null\n+++ b/0.txt\n{_hunk('+x')}"
    error = await refused(room, created + "".join(_diff(f"{each}.txt", FIVE) for each in "abc"))
    assert error.code == "NO_SPACE"


async def test_a_file_that_changed_since_it_was_checked_is_not_overwritten(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.file("a.txt", POEM)
    late = room.file("b.txt", POEM)
    real = files.replace

    def meanwhile(*arguments: object) -> bool:
        late.write_text("someone else's")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("activities.tools.plan.replace", meanwhile)
    with pytest.raises(ToolError) as caught:
        await patched(room, _diff("a.txt", FIVE) + _diff("b.txt", FIVE))
    assert caught.value.code == "CHANGED"
    assert _all(room.workspace) == {"a.txt": POEM.encode(), "b.txt": b"someone else's"}


async def test_a_diff_of_git_itself_is_applied_to_the_byte(room: Room) -> None:
    """Names with blanks and accents, a rename with changes, a mode, a deletion, an addition: git writes, we apply."""
    source = room.workspace.parent / "source"
    source.mkdir()
    for name, text in {"a b.txt": POEM, "é.txt": POEM, "mode.sh": "x\n", "gone.txt": "x\ny", "empty": ""}.items():
        (source / name).write_text(text)
        room.file(name, text)
    _git(source, "init", "-q")
    _git(source, "add", "-A")
    _git(source, "-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "one")
    (source / "a b.txt").write_text(POEM.replace("line 7", "line seven") + "last without end")
    shutil.move(source / "é.txt", source / "ü.txt")
    (source / "ü.txt").write_text(POEM.replace("line 3\n", ""))
    (source / "mode.sh").chmod(0o755)
    (source / "gone.txt").unlink()
    (source / "empty").unlink()
    (source / "new dir").mkdir()
    (source / "new dir/né").write_text("é\n")
    _git(source, "add", "-A")
    await patched(room, _git(source, "diff", "--cached", "-M"))
    shutil.rmtree(source / ".git")
    assert _all(room.workspace) == _all(source)
    assert os.access(room.workspace / "mode.sh", os.X_OK)


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


async def test_a_cancelled_patch_is_applied_whole_or_not_at_all(room: Room) -> None:
    names = [f"{number}.txt" for number in range(60)]
    for name in names:
        room.file(name, POEM)
    before = _all(room.workspace)
    for wait in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
        task = asyncio.create_task(patched(room, "".join(_diff(name, FIVE) for name in names)))
        await asyncio.wait({task}, timeout=wait)
        task.cancel()
        await asyncio.wait({task})
        left = _all(room.workspace)
        changed = sum(left[name] != before[name] for name in names)
        assert set(left) == set(before) and changed in (0, len(names))
        if changed:
            break
