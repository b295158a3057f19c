"""retrieve_result: the rest of results that were too long to show."""

import asyncio
import re
import time
from typing import Any

import psutil
import pytest

from activities.tools import ToolError, ToolOutput, call
from activities.tools import retrieve_result as retrieving
from activities.tools.retrieve_result import TOOL
from tests.tools.room import Room, until
from tests.tools.shelf import MemoryShelf

LOG = "".join(f"line {number} é\n" for number in range(100_000))


async def retrieve(room: Room, text: str = LOG, **arguments: Any) -> ToolOutput:
    shelf = MemoryShelf({"call_1": text})
    return await call(TOOL, {"handle": "call_1", **arguments}, room.context(shelf=shelf))


async def refused(room: Room, text: str = LOG, **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await retrieve(room, text, **arguments)
    return caught.value


async def test_a_long_result_is_paged_through_without_a_gap(room: Room) -> None:
    offset, pages = 0, list[str]()
    while True:
        output = await retrieve(room, offset=offset, length=48_000)
        text, _, note = output.content.rpartition("\n[")
        pages.append(text)
        told = re.fullmatch(
            rf"characters {offset} to (\d+) of {len(LOG)}(; go on with offset \1|, which is its end)\]", note
        )
        assert told is not None
        if not output.truncated:
            break
        offset = int(told[1])
    # A page that ends in the middle of a line was given an end of line for the note.
    assert "".join(pages).replace("\n", "") == LOG.replace("\n", "")
    assert len(pages) == -(-len(LOG) // 48_000)


async def test_the_note_says_where_the_page_lies(room: Room) -> None:
    assert (await retrieve(room, "0123456789", offset=3, length=4)).content == (
        "3456\n[characters 3 to 7 of 10; go on with offset 7]"
    )
    assert (
        await retrieve(room, "0123456789", offset=3)
    ).content == "3456789\n[characters 3 to 10 of 10, which is its end]"


async def test_an_offset_beyond_the_end_says_how_long_it_is(room: Room) -> None:
    error = await refused(room, "short", offset=5)
    assert error.code == "INVALID_ARGUMENTS" and "only 5 characters" in error.message


async def test_an_unknown_handle_says_where_handles_come_from(room: Room) -> None:
    for arguments in ({"handle": "call_2"}, {"handle": "call_2", "pattern": "x"}):
        error = await refused(room, **arguments)
        assert error.code == "NOT_FOUND" and "call_2" in error.message and "too long to show" in error.message
    with pytest.raises(ToolError, match="NOT_FOUND"):
        await call(TOOL, {"handle": "x"}, room.context())


async def test_a_search_gives_lines_with_offsets_that_can_be_read_from(room: Room) -> None:
    found = (await retrieve(room, pattern="line 9999[89] ")).content.splitlines()
    assert [line.split(": ", 1)[1] for line in found] == ["line 99998 é", "line 99999 é"]
    offset = int(found[0].split(":")[0])
    assert (await retrieve(room, offset=offset, length=5)).content.startswith("line ")
    assert LOG[offset:].startswith("line 99998")
    again = (await retrieve(room, pattern="line 9999[89] ", offset=offset + 1)).content
    assert again.splitlines() == found[1:]


async def test_a_search_without_a_match_says_so(room: Room) -> None:
    assert (await retrieve(room, pattern="^nothing$")).content == f"[no line matches in {len(LOG):,} characters]"


async def test_a_search_stops_at_its_limit_and_says_where_to_go_on(room: Room) -> None:
    output = await retrieve(room, pattern="line")
    lines = output.content.splitlines()
    assert output.truncated and len(lines) == retrieving.HITS + 1
    offset = int(lines[-1].rsplit(" ", 1)[1].rstrip("]"))
    assert LOG[offset:].startswith(f"line {retrieving.HITS} ")


async def test_a_line_of_any_length_is_searched(room: Room) -> None:
    text = "x" * 500_000 + "needle" + "y" * 500_000
    found = (await retrieve(room, text, pattern="needle")).content
    assert "needle" in found and len(found) < 1_000


async def test_a_pattern_that_is_none_is_refused(room: Room) -> None:
    error = await refused(room, pattern="(")
    assert error.code == "INVALID_ARGUMENTS" and "not a valid one" in error.message


async def test_a_pattern_without_an_end_is_killed_and_holds_nobody_up(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieving, "SECONDS", 0.5)
    begun = time.monotonic()
    error = await refused(room, "found first: aab\n" + "a" * 40 + "!\n", pattern="^(a+)+$|first")
    assert error.code == "TIMEOUT" and "found first" in error.content
    assert time.monotonic() - begun < 3


def _seekers() -> list[int]:
    """Seekers that this process has started."""
    return [child.pid for child in psutil.Process().children() if "seeker.py" in " ".join(child.cmdline())]


async def test_a_cancelled_search_leaves_no_process(room: Room) -> None:
    task = asyncio.create_task(retrieve(room, "a" * 40 + "!\n", pattern="^(a+)+$"))
    await until(_seekers, 3)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert not _seekers()
