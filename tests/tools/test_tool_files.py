"""Reading, writing and editing files."""

import asyncio
import os
import resource
import stat
import threading
import time

import pytest

from activities.tools.read_file import SHOWN
from activities.tools.threads import Check, Stopped, in_thread
from tests.tools.room import Room, until


async def test_a_file_is_read_exactly_as_it_is(room: Room) -> None:
    for text in ("one\ntwo\n", "no end of line", "tabs\tand\r\nDOS\r\n", "Ünïcødé 🐢\n", "\n\n\n"):
        room.file("a.txt", text)
        assert await room.says("read_file", path="a.txt") == text


async def test_an_empty_file_is_said_to_be_empty(room: Room) -> None:
    room.file("a.txt")
    assert await room.says("read_file", path="a.txt") == "[the file is empty]"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"lines": 2}, "1\n2\n[lines 1 to 2 of a file of 10 bytes; go on with offset 3]"),
        ({"offset": 4}, "4\n5\n"),
        ({"offset": 2, "lines": 1}, "2\n[lines 2 to 2 of a file of 10 bytes; go on with offset 3]"),
        ({"offset": 4, "lines": 2}, "4\n5\n"),
        ({"offset": 5, "lines": 100}, "5\n"),
    ],
)
async def test_lines_and_offset_choose_the_part(room: Room, asked: dict[str, int], shown: str) -> None:
    room.file("a.txt", "1\n2\n3\n4\n5\n")
    assert await room.says("read_file", path="a.txt", **asked) == shown


async def test_an_offset_past_the_end_is_told(room: Room) -> None:
    room.file("a.txt", "1\n2\n")
    error = await room.refused("read_file", path="a.txt", offset=3)
    assert (error.code, error.message) == ("INVALID_ARGUMENTS", "`offset`: a.txt has fewer than 3 lines")


async def test_a_long_file_is_read_page_by_page_without_losing_a_line(room: Room) -> None:
    whole = "".join(f"line {number} {'ö' * (number % 90)}\n" for number in range(5_000))
    room.file("a.txt", whole)
    read, offset = "", 1
    while True:
        output = await room.call("read_file", path="a.txt", offset=offset)
        if not output.truncated:
            break
        page, note = output.content.rsplit("[", 1)
        assert len(page) <= SHOWN
        read += page
        offset = int(note.rsplit("offset ", 1)[1].rstrip("]"))
    assert read + output.content == whole


async def test_a_line_that_is_too_long_is_cut_and_said_to_be(room: Room) -> None:
    room.file("a.txt", "short\n" + "ö" * 200_000 + "\nend\n")
    output = await room.call("read_file", path="a.txt", offset=2)
    assert output.truncated
    assert output.content.count("ö") == SHOWN
    assert output.content.rsplit("\n", 1)[1].startswith("[line 2 is longer than the 48,000 characters")


async def test_a_huge_file_does_not_fill_the_memory(room: Room) -> None:
    with (room.workspace / "huge").open("wb") as file:
        file.write(b"text\n" * 20_000)
        file.truncate(2_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (await room.refused("edit_file", path="huge", old_string="a", new_string="b")).code == "TOO_LARGE"
    assert (await room.call("read_file", path="huge")).truncated
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\0\0", b"text\0text", bytes(range(128, 256)) * 20])
async def test_a_binary_file_is_named_not_dumped(room: Room, content: bytes) -> None:
    room.file("a.bin", content)
    error = await room.refused("read_file", path="a.bin")
    assert (error.code, error.content) == ("BINARY_FILE", "")


async def test_another_encoding_is_read_when_asked_for(room: Room) -> None:
    room.file("a.txt", "Größe\n".encode("utf-16"))
    room.file("b.txt", "Größe\n".encode("latin-1"))
    assert await room.says("read_file", path="a.txt", encoding="UTF-16") == "Größe\n"
    assert await room.says("read_file", path="b.txt", encoding="latin-1") == "Größe\n"
    assert await room.says("read_file", path="b.txt") == "Gr\ufffd\ufffde\n"


async def test_a_file_is_written_exactly_as_given(room: Room) -> None:
    told = await room.says("write_file", path="a.txt", content="Ünï\r\n\tx")
    assert told == "created a.txt: 9 bytes, 2 lines written"
    assert (room.workspace / "a.txt").read_bytes() == "Ünï\r\n\tx".encode()
    assert (await room.says("write_file", path="a.txt", content="")).startswith("replaced a.txt: 0 bytes")
    assert (room.workspace / "a.txt").read_bytes() == b""


async def test_append_adds_to_the_end_and_makes_the_file_if_need_be(room: Room) -> None:
    assert (await room.says("write_file", path="a.txt", content="one\n", append=True)).startswith("created")
    assert (await room.says("write_file", path="a.txt", content="two\n", append=True)).startswith("appended to")
    assert (room.workspace / "a.txt").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("append", [False, True])
async def test_missing_folders_are_made_unless_create_dirs_is_false(room: Room, append: bool) -> None:
    error = await room.refused("write_file", path="x/y/a", content="1", append=append, createDirs=False)
    assert error.code == "NOT_FOUND"
    assert not (room.workspace / "x").exists()
    await room.call("write_file", path="x/y/a", content="1", append=append)
    assert (room.workspace / "x/y/a").read_text() == "1"


async def test_the_mode_of_a_file_survives_its_replacement_and_its_edit(room: Room) -> None:
    place = room.file("run.sh", "echo one\n")
    place.chmod(0o750)
    await room.call("write_file", path="run.sh", content="echo two\n")
    await room.call("edit_file", path="run.sh", old_string="two", new_string="three")
    assert place.read_text() == "echo three\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o750


async def test_a_reader_sees_the_old_file_or_the_new_never_a_part(room: Room) -> None:
    place = room.file("a.txt", "0" * 500_000)
    over = threading.Event()
    seen: set[tuple[int, str]] = set()

    def read() -> None:
        while not over.is_set():
            text = place.read_text()
            seen.add((len(text), "".join(sorted(set(text)))))

    reader = asyncio.create_task(asyncio.to_thread(read))
    for digit in "123456789":
        await room.call("write_file", path="a.txt", content=digit * 500_000)
    over.set()
    await reader
    assert seen <= {(500_000, digit) for digit in "0123456789"}
    assert os.listdir(room.workspace) == ["a.txt"]


async def test_a_write_that_cannot_be_done_leaves_nothing_behind(room: Room) -> None:
    (room.workspace / "folder").mkdir()
    assert (await room.refused("write_file", path="folder", content="x")).code == "IS_A_FOLDER"
    assert (await room.refused("write_file", path="folder", content="x", append=True)).code == "IS_A_FOLDER"
    assert os.listdir(room.workspace) == ["folder"]
    assert os.listdir(room.workspace / "folder") == []


async def test_file_work_has_stopped_when_its_cancelled_call_ends() -> None:
    begun, over = threading.Event(), threading.Event()

    def work(check: Check) -> None:
        begun.set()
        try:
            while True:
                check()
                time.sleep(0.001)
        except Stopped:
            over.set()
            raise

    task = asyncio.create_task(in_thread(work))
    await until(begun.is_set, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over.is_set()


async def test_an_edit_replaces_the_one_match_and_shows_the_change(room: Room) -> None:
    place = room.file("a.py", "".join(f"line {number}\n" for number in range(1, 11)))
    told = await room.says("edit_file", path="a.py", old_string="line 5\nline 6", new_string="five\nand\nsix")
    assert told.splitlines() == [
        "1 replacement in a.py",
        "@@ line 5 @@",
        *(" line 2", " line 3", " line 4"),
        *("-line 5", "-line 6", "+five", "+and", "+six"),
        *(" line 7", " line 8", " line 9"),
    ]
    assert place.read_text().split("\n")[3:8] == ["line 4", "five", "and", "six", "line 7"]


@pytest.mark.parametrize(
    ("text", "old", "new", "hunk"),
    [
        ("a\nb\n", "a\n", "", ["-a", " b"]),
        ("a\nb\n", "b", "c", [" a", "-b", "+c"]),
        ("a\nb", "b", "c\n", [" a", "-b", "+c"]),
        ("a b a\n", "b", "c", ["-a b a", "+a c a"]),
        ("a\nb\n", "\n", " ", ["-a", "-b", "+a b "]),
    ],
)
async def test_the_shown_change_has_whole_lines(room: Room, text: str, old: str, new: str, hunk: list[str]) -> None:
    place = room.file("a.txt", text)
    told = await room.says("edit_file", path="a.txt", old_string=old, new_string=new, replace_all=True)
    assert place.read_text() == text.replace(old, new)
    assert [line for line in told.splitlines()[1:] if not line.startswith("@@")] == hunk


async def test_an_edit_needs_a_unique_match(room: Room) -> None:
    place = room.file("a.py", "x = 1\ny = 1\nx = 1\n")
    error = await room.refused("edit_file", path="a.py", old_string="x = 1", new_string="x = 2")
    assert error.code == "NOT_UNIQUE"
    assert "2 times (lines 1, 3)" in error.message
    assert place.read_text() == "x = 1\ny = 1\nx = 1\n"


async def test_replace_all_replaces_every_match_and_shows_the_first_places(room: Room) -> None:
    place = room.file("a.py", "x x\n\n\n" * 40)
    told = await room.says("edit_file", path="a.py", old_string="x", new_string="yy", replace_all=True)
    assert place.read_text() == "yy yy\n\n\n" * 40
    assert told.startswith("80 replacements in a.py\n@@ line 1 @@\n-x x\n+yy yy\n")
    assert told.endswith("[... and 20 places more ...]")


async def test_an_edit_without_a_match_or_without_a_change_is_refused(room: Room) -> None:
    room.file("a.py", "x = 1\n")
    assert (await room.refused("edit_file", path="a.py", old_string="z", new_string="")).code == "NO_MATCH"
    error = await room.refused("edit_file", path="a.py", old_string="x", new_string="x")
    assert error.code == "INVALID_ARGUMENTS"


async def test_an_edit_finds_lines_that_end_the_dos_way_and_keeps_their_ends(room: Room) -> None:
    place = room.file("a.txt", "one\r\ntwo\r\nthree\r\n")
    await room.call("edit_file", path="a.txt", old_string="one\ntwo", new_string="1\n2")
    assert place.read_bytes() == b"1\r\n2\r\nthree\r\n"


async def test_a_file_that_is_not_utf_8_is_not_spoiled_by_an_edit(room: Room) -> None:
    place = room.file("a.txt", "Größe x".encode("latin-1"))
    assert (await room.refused("edit_file", path="a.txt", old_string="x", new_string="y")).code == "BINARY_FILE"
    assert place.read_bytes() == "Größe x".encode("latin-1")
