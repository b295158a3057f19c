"""exec: output, environment, and process trees that die with the call."""

import asyncio
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from activities.tools import ToolError
from activities.tools.exec import KEPT, PROGRESS
from tests.tools.room import CONFINED, Room, running, until


@pytest.fixture(params=CONFINED)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    """A room with the sandbox, and one without."""
    return Room(tmp_path, request.param)


@pytest.fixture
def open_room(tmp_path: Path) -> Room:
    """A room without the sandbox, in which the warden is within reach."""
    return Room(tmp_path, "off")


DETACHED = {  # ways of leaving the command that started one
    "in the background": "{sleep} &",
    "in a session of its own": "setsid {sleep} &",
    "by a double fork": "(setsid sh -c '{sleep} &' &)",
    "by a triple fork without output": "(setsid sh -c '(setsid sh -c \"{sleep} &\" &) &' > /dev/null 2>&1 &)",
    "deaf to signals": "(trap '' TERM HUP INT; setsid nohup {sleep} > /dev/null 2>&1 &)",
    "stopped": "{sleep} & until pgrep -f '^{sleep}' > /dev/null; do :; done; kill -STOP $!",
    "forking on": "(while :; do setsid {sleep} & /bin/sleep 0.01; done) &",
}

WORKER = """
import asyncio, sys
from pathlib import Path
from activities.tools import TOOLS, ToolContext, call

async def main(workspace, command):
    context = ToolContext(Path(workspace), lambda stream, text: print(text, end="", flush=True))
    await call(TOOLS["exec"], {"command": command}, context)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_output_of_both_streams_comes_with_the_exit_code(room: Room) -> None:
    assert await room.says("exec", command="echo out; sleep 0.05; echo err >&2; pwd") == (
        f"out\nerr\n{room.workspace}\n{room.ended(0)}"
    )
    assert await room.says("exec", command="printf 'no end'") == f"no end\n{room.ended(0)}"
    assert await room.says("exec", command="true") == room.ended(0)


@pytest.mark.parametrize(
    ("command", "code"), [("exit 3", 3), ("kill -KILL $$", 137), ("none_such", 127), ("kill -TERM $$", 143)]
)
async def test_a_command_that_fails_is_an_error_with_its_output(room: Room, command: str, code: int) -> None:
    error = await room.refused("exec", command=f"echo before; {command}")
    assert error.code == "EXIT_CODE"
    assert error.message == f"the command ended with exit code {code}"
    assert error.content.startswith("before\n")
    assert error.content.endswith(f"\n{room.ended(code)}")


async def test_it_runs_where_it_is_told_with_nothing_to_read(room: Room) -> None:
    (room.workspace / "a/b").mkdir(parents=True)
    assert (await room.says("exec", command="pwd; cat", workdir="a/b")).startswith(f"{room.workspace}/a/b\n")
    assert (await room.refused("exec", command="true", workdir="none")).code == "NOT_FOUND"


async def test_a_pipe_whose_reader_left_ends_its_writer_quietly(room: Room) -> None:
    assert await room.says("exec", command="set -o pipefail; (yes; true) | head -1") == f"y\n{room.ended(0)}"


async def test_text_is_whole_whatever_bytes_come_in_whatever_pieces(room: Room) -> None:
    command = r"printf '\xc3'; sleep 0.05; printf '\xbc \xff \0 end'"
    assert await room.says("exec", command=command) == f"ü \ufffd \ufffd end\n{room.ended(0)}"
    assert "".join(text for _, text in room.heard) == "ü \ufffd \ufffd end"


async def test_progress_arrives_while_the_command_still_runs(room: Room) -> None:
    command = "echo one; echo two >&2; until [ -e go ]; do sleep 0.01; done; echo three"
    task = asyncio.create_task(room.call("exec", command=command))
    await until(lambda: len(room.heard) >= 2, 5)
    assert sorted(room.heard) == [("stderr", "two\n"), ("stdout", "one\n")]
    assert not task.done()
    room.file("go")
    assert (await task).content.endswith(f"three\n{room.ended(0)}")
    assert room.heard[-1] == ("stdout", "three\n")


async def test_endless_output_fills_neither_memory_nor_stream(room: Room) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    output = await room.call("exec", command="echo begin; yes | head -c 100000000; echo end")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KiB
    assert output.truncated and output.whole is not None
    output.whole.close()
    assert len(output.content) < 2 * KEPT + 200
    assert output.content.startswith("begin\ny\n")
    assert output.content.endswith(f"y\nend\n{room.ended(0)}")
    assert f"[... {100_000_010 - 2 * KEPT:,} characters left out ...]" in output.content
    assert all(text for _, text in room.heard)
    assert sum(len(text) for _, text in room.heard) == PROGRESS


@pytest.mark.parametrize("way", DETACHED)
async def test_what_a_command_leaves_behind_dies_at_its_end(room: Room, sleep: str, way: str) -> None:
    command = f"{DETACHED[way].format(sleep=sleep)}\nuntil pgrep -f '^{sleep}' > pid; do :; done"
    assert await room.says("exec", command=command, timeout=20) == room.ended(0)
    assert (room.workspace / "pid").read_text() != ""
    assert running(sleep) == []


@pytest.mark.parametrize("way", DETACHED)
async def test_a_cancelled_command_is_dead_with_all_it_started_when_the_cancel_arrives(
    room: Room, sleep: str, way: str
) -> None:
    command = f"{DETACHED[way].format(sleep=sleep)}\nsleep 300"
    task = asyncio.create_task(room.call("exec", command=command))
    await until(lambda: _sleeping(sleep), 5)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 2
    assert running(sleep) == []


def _sleeping(sleep: str) -> list[int]:
    """Those that are the sleep itself by now, not a shell that will become or start it."""
    return [pid for pid in running(sleep) if _command(pid).startswith(sleep)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


async def test_a_command_cancelled_at_any_moment_of_its_start_leaves_nothing(room: Room, sleep: str) -> None:
    for delay in range(0, 40, 2):
        task = asyncio.create_task(room.call("exec", command=f"setsid {sleep} & {sleep}"))
        await asyncio.wait({task}, timeout=delay / 1000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(lambda: not running(sleep), 1)


async def test_a_cancel_that_is_repeated_does_not_cut_the_clearing_up_short(room: Room, sleep: str) -> None:
    task = asyncio.create_task(room.call("exec", command=f"setsid {sleep} & {sleep}"))
    await until(lambda: len(_sleeping(sleep)) == 2, 5)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()
    assert running(sleep) == []


async def test_a_command_that_takes_too_long_is_killed_and_its_output_kept(room: Room, sleep: str) -> None:
    begun = time.monotonic()
    error = await room.refused("exec", command=f"echo before; setsid {sleep} & {sleep}", timeout=0.4)
    assert time.monotonic() - begun < 5
    assert error.code == "TIMEOUT"
    assert "0.4 s" in error.message
    assert error.content == f"before\nkilled: time limit · sandbox: {room.sandbox}"
    assert running(sleep) == []


async def test_all_dies_with_a_worker_that_was_killed(room: Room, sleep: str) -> None:
    command = f"setsid {sleep} & (setsid sh -c '{sleep} &' &); trap '' TERM; echo up; {sleep}; {sleep}"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(room.workspace), command),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"up\n"
    await until(lambda: len(_sleeping(sleep)) == 3, 5)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await until(lambda: not running(sleep), 2)
    await worker.communicate()


async def test_a_command_that_kills_its_warden_is_ended_all_the_same(open_room: Room, sleep: str) -> None:
    error = await open_room.refused("exec", command=f"setsid {sleep} & kill -KILL $PPID; {sleep}")
    assert error.code == "SUPERVISOR_KILLED"
    await until(
        lambda: not running(sleep), 2
    )  # what a dead warden left is killed from outside, and takes a moment to die


async def test_a_command_that_asks_its_warden_to_end_is_ended_in_order(open_room: Room, sleep: str) -> None:
    error = await open_room.refused("exec", command=f"setsid {sleep} & kill -TERM $PPID; {sleep}")
    assert (error.code, error.message[-3:]) == ("EXIT_CODE", "143")
    assert running(sleep) == []


async def test_calls_side_by_side_end_on_their_own(room: Room, sleep: str) -> None:
    """One call's pipes are not held open by another's warden."""
    long = asyncio.create_task(room.call("exec", command=sleep))
    await until(lambda: _sleeping(sleep), 5)
    others = await asyncio.gather(*(room.says("exec", command=f"echo {n}") for n in range(6)))
    assert others == [f"{n}\n{room.ended(0)}" for n in range(6)]
    assert _sleeping(sleep)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    assert running(sleep) == []


async def test_calls_leave_no_descriptor_and_no_child_behind(room: Room) -> None:
    async def one_of_each() -> None:
        await room.call("exec", command="true")
        with pytest.raises(ToolError):
            await room.call("exec", command="sleep 9", timeout=0.05)
        await room.call("grep", pattern="x")
        with pytest.raises(ToolError):
            await room.call("read_file", path="../x")

    await one_of_each()
    others = _children()  # servers of other tests
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await one_of_each()
    assert len(os.listdir("/proc/self/fd")) == before
    await until(lambda: not _children() - others, 2)


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
