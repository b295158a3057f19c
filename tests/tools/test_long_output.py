"""Long output: kept outside of memory, shown at both ends, and told how the rest is read."""

import gc
import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from activities.tools import TOOLS, ToolContext, ToolError, ToolOutput, ToolSpec, call
from activities.tools import spool as spool_module
from activities.tools.spool import LIMIT, Kept, Spool
from activities.tools.text import gap
from session.masking import Masker
from tests.tools.room import Room

TEXTS = st.lists(st.text(alphabet="ab\nü€😀", max_size=30), max_size=40)


@given(pieces=TEXTS, limit=st.sampled_from([2, 10, 40, 400]), buffer=st.sampled_from([1, 7, 50]))
def test_a_spool_has_both_ends_of_what_was_written_and_says_what_is_missing(
    pieces: list[str], limit: int, buffer: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "BUFFER", buffer)
        spool = Spool(limit)
        for piece in pieces:
            spool.add(piece)
        whole, half = "".join(pieces), limit // 2
        assert spool.characters == len(whole)
        if len(whole) <= 2 * half:
            assert "".join(spool.pieces()) == whole
        else:
            assert "".join(spool.pieces()) == whole[:half] + gap(len(whole) - 2 * half) + whole[-half:]
        for offset, length in itertools.product(range(0, len(whole) + 2, 5), (0, 1, 9, 1000)):
            text, begins = spool.read(offset, length)
            assert whole[begins : begins + len(text)] == text
            assert begins == offset or begins == max(half, len(whole) - half) or begins == len(whole)
        spool.close()


def test_short_output_meets_no_disk() -> None:
    spool = Spool()
    spool.add("short")
    assert list(spool.pieces()) == ["short"]
    assert spool._head._file is None
    spool.close()


def test_a_spool_that_ended_gave_its_space_back() -> None:
    spool = Spool(1000)
    spool.add("x" * 5000)
    spool.close()
    assert list(Path("/proc/self/fd").iterdir())
    gc.collect()  # an open file would be told as a warning, which is an error here


class Nothing(BaseModel):
    pass


def _tool(text: str, *, fails: bool = False) -> ToolSpec[Nothing]:
    async def run(_arguments: Nothing, _context: ToolContext) -> ToolOutput:
        if fails:
            raise ToolError("BROKEN", "it broke", content=text)
        return ToolOutput(text)

    return ToolSpec("tell", "Tell.", Nothing, "safe", "readOnly", 5, 1000, run)


@pytest.mark.parametrize("fails", [False, True])
async def test_any_tools_long_answer_is_kept_and_the_model_told_how_to_read_it(room: Room, fails: bool) -> None:
    text = "a" * 600 + "b" * 4000 + "c" * 600
    context = room.context(call_id="toolu_7")
    output: ToolOutput | ToolError
    try:
        output = await call(_tool(text, fails=fails), {}, context)
    except ToolError as error:
        output = error
    assert output.whole is not None and "".join(output.whole.pieces()) == text and output.whole.characters == 5200
    assert len(output.content) <= 1000
    assert 'read them with retrieve_result {"handle": "toolu_7", "offset": 500}' in output.content
    assert output.content.startswith("a" * 500 + "\n[... ") and output.content.endswith("c")
    output.whole.close()


async def test_what_was_shown_in_full_is_not_kept(room: Room) -> None:
    output = await call(_tool("short"), {}, room.context(call_id="toolu_7"))
    assert output == ToolOutput("short")


async def test_content_errors_and_what_is_kept_are_masked(room: Room) -> None:
    secret = "sk-precious-0123456789"
    context = room.context(call_id="toolu_7", masker=Masker((secret,)))
    output = await call(_tool(f"{secret} " * 200), {}, context)
    assert output.whole is not None
    assert "precious" not in output.content and "precious" not in "".join(output.whole.pieces())
    with pytest.raises(ToolError) as caught:
        await call(_tool(f"the key is {secret}", fails=True), {}, context)
    assert "precious" not in caught.value.content


def test_a_text_in_memory_is_kept_within_the_same_limit() -> None:
    kept = Kept("x" * (LIMIT + 5))
    assert kept.characters == LIMIT + 5
    assert LIMIT - 100 < sum(len(piece) for piece in kept.pieces()) <= LIMIT


@pytest.mark.parametrize("fails", [False, True])
async def test_execs_long_output_is_kept_whole(room: Room, fails: bool) -> None:
    context = room.context(call_id="toolu_8")
    arguments = {"command": "seq 1 60000" + ("; exit 3" if fails else "")}
    output: ToolOutput | ToolError
    try:
        output = await call(TOOLS["exec"], arguments, context)
    except ToolError as error:
        output = error
    text = "".join(f"{n}\n" for n in range(1, 60001))
    assert output.whole is not None and "".join(output.whole.pieces()) == text
    assert 'retrieve_result {"handle": "toolu_8", "offset": 16384}' in output.content
    assert output.content.endswith(f"60000\n{room.ended(3 if fails else 0)}")
    output.whole.close()


@pytest.mark.slow
@pytest.mark.parametrize("flood", ["head -c 100M /dev/zero | tr '\\0' x", "yes | head -c 100M"])
async def test_a_flood_leaves_the_workers_memory_as_it_was(room: Room, flood: str) -> None:
    await room.says("exec", command="seq 1 200000")  # what is made once is made
    before, began = _resident(), time.monotonic()
    most = before

    def look(_stream: str, _text: str) -> None:
        nonlocal most
        most = max(most, _resident())

    output = await call(TOOLS["exec"], {"command": flood}, ToolContext(room.workspace, look, call_id="toolu_9"))
    most = max(most, _resident())
    assert output.whole is not None
    kept = sum(len(piece) for piece in output.whole.pieces())
    most = max(most, _resident())
    output.whole.close()
    print(f"{flood}: {time.monotonic() - began:.1f} s, {(most - before) >> 20} MiB more, {kept:,} characters kept")
    assert output.whole.characters == 100 << 20
    assert LIMIT <= kept <= LIMIT + 100
    assert most - before < 48 << 20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
