"""The benchmark kit measures what it says: its figures, its client, and a short run of the real thing."""

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from bench.figures import figure, percentile
from bench.stand import lags_of
from bench.wire import Frame, Refused, Stream

ROOT = Path(__file__).parents[2]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (1, 50, 95, 100)] == [1.0, 50.0, 95.0, 100.0]
    assert percentile([3.0], 50) == 3.0


def test_a_figure_reaches_its_goal_by_its_median_and_none_without_one() -> None:
    assert figure("a", "b", "ms", [1, 2, 90], goal=2).reached is True
    assert figure("a", "b", "ms", [1, 3, 3], goal=2).reached is False
    assert figure("a", "b", "ms", [1]).reached is None


async def test_frames_are_whole_however_the_bytes_come() -> None:
    sent = HEAD + chunk(b'id: 1\ndata: {"type":"a","n":1}\n\nid: 2\nda') + chunk(b'ta: {"type":"b"}\n\n: beat\n\n')
    for size in (1, 7, len(sent)):
        stream = Stream(b"")
        for at in range(0, len(sent), size):
            stream.data_received(sent[at : at + size])
        assert [frame.event["type"] for frame in stream.frames] == ["a", "b"]
        assert (await stream.until("b")).event == {"type": "b"}


async def test_a_stream_that_ends_without_the_event_asked_for_says_so() -> None:
    stream = Stream(b"")
    stream.data_received(HEAD + chunk(b'data: {"type":"a"}\n\n'))
    stream.connection_lost(None)
    with pytest.raises(Refused, match="without b"):
        await stream.until("b")


def test_lag_is_from_the_stamp_in_the_delta_to_the_arrival() -> None:
    stamp = time.time_ns()
    texts = [Frame(stamp + 3_000_000, b'{"data":{"delta":"%d|"}}' % stamp), Frame(stamp, b'{"data":{"delta":"word"}}')]
    assert lags_of(texts) == [3.0]


@pytest.mark.slow
async def test_a_quick_run_writes_its_figures(tmp_path: Path) -> None:
    told = tmp_path / "figures.json"
    running = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "bench",
            "first",
            "crowd-1",
            "readers-1",
            "--quick",
            "--on",
            "embedded",
            "--json",
            str(told),
        ),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        printed, _ = await running.communicate()
    assert running.returncode == 0
    assert b"added time to first delta" in printed
    figures = [one for run in json.loads(told.read_text())["runs"].values() for one in run["figures"]]
    assert {one["part"] for one in figures} == {"first", "crowd-1", "readers-1"}
    kept = {(one["part"], one["what"]): one["median"] for one in figures}
    assert kept["crowd-1", "sessions not completed in time"] == 0
    assert kept["readers-1", "readers with other facts than most"] == 0
    assert all(one["low"] <= one["median"] <= one["high"] for one in figures)


@pytest.mark.slow
async def test_what_sessions_say_that_they_cost_is_what_they_were_told_and_limits_are_kept(tmp_path: Path) -> None:
    told = tmp_path / "figures.json"
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "bill", "limits", "--quick", "--json", str(told)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(150):
        await running.communicate()
    assert running.returncode == 0
    figures = [one for run in json.loads(told.read_text())["runs"].values() for one in run["figures"]]
    kept = {one["what"]: one["median"] for one in figures}
    assert kept["sessions whose tokens differ from what they heard"] == 0
    assert kept["sessions whose cost differs from what they heard"] == 0
    assert kept["12 sessions, with the limiter: answered 429"] == 0
    assert kept["12 sessions, with the limiter: did not complete"] == 0
    assert kept["12 sessions, without the limiter: answered 429"] > 0
