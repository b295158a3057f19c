"""exec: what a command takes too much of ends it, with all it started, and the model is told which limit it was."""

import asyncio
import dataclasses
import os
import time
from pathlib import Path

import pytest

from activities.tools import TOOLS, ToolError, call
from activities.tools.jobs import Jobs
from session.policy import CommandPolicy, Limits, SandboxMode, ToolPolicy
from tests.tools.room import CONFINED, Room, running, until

MIB = 1 << 20
LIMITS = Limits(cpu_seconds=2, memory=256 * MIB, processes=64, file_size=20 * MIB)

# Each bomb ends by itself, should the limits fail: it is not to take the machine that runs the tests.
BOMBS = {
    "fork bomb": (
        "b() { if [ $1 -gt 10 ]; then exec {sleep}; fi; b $(($1 + 1)) | b $(($1 + 1)) & }; b 0; {sleep}",
        "PROCESS_LIMIT",
        "64 processes",
    ),
    "fork bomb that leaves its session": (
        "for i in $(seq 1500); do setsid sh -c '{sleep} &' & done; {sleep}",
        "PROCESS_LIMIT",
        "64 processes",
    ),
    "threads": (
        "python3 -c 'import threading, time\n"
        "for n in range(2000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "time.sleep(9)'; {sleep}",
        "PROCESS_LIMIT",
        "threads",
    ),
    "memory of one process": ("python3 -c 'x = bytearray(3 << 29); input()'; {sleep}", "MEMORY_LIMIT", "256 MiB"),
    "memory of many processes": (
        "for i in 1 2 3 4 5 6; do python3 -c 'x = bytearray(90 << 20); import time; time.sleep(9)' & done; {sleep}",
        "MEMORY_LIMIT",
        "256 MiB",
    ),
    "a spinning process": ("while :; do :; done", "CPU_LIMIT", "2 s"),
    "many short spins": (
        "while :; do timeout 0.3 sh -c 'while :; do :; done'; done & while :; do :; done",
        "CPU_LIMIT",
        "2 s",
    ),
    "a large file": ("head -c 100M /dev/zero > large", "FILE_SIZE_LIMIT", "20 MiB"),
}


@pytest.mark.parametrize("sandbox", CONFINED)
@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_is_dead_soon_and_the_model_is_told_why(
    tmp_path: Path, sleep: str, bomb: str, sandbox: SandboxMode
) -> None:
    room = _room(tmp_path, sandbox, LIMITS)
    command, code, told = BOMBS[bomb]
    began = time.monotonic()
    error = await room.refused("exec", command=f"echo before; {command.replace('{sleep}', sleep)}", timeout=30)
    took = time.monotonic() - began
    print(f"{bomb:34} {room.sandbox:10} {error.code:16} {took:5.2f} s")
    assert error.code == code
    assert told in error.message
    assert error.content.startswith("before\n")
    assert error.content.splitlines()[-1] == f"killed: {code} · sandbox: {room.sandbox}"
    assert took < 25  # of CPU a loaded machine gives little; on an idle one it is about one second, CPU rows two
    assert running(sleep) == []
    assert await room.says("exec", command="echo usable") == f"usable\n{room.ended(0)}"


@pytest.mark.parametrize("sandbox", CONFINED)
async def test_what_processes_share_counts_once(tmp_path: Path, sandbox: SandboxMode) -> None:
    room = _room(tmp_path, sandbox, LIMITS)
    room.file(
        "share.py",
        "import os, time\nx = bytearray(100 << 20)\n"
        "for n in range(6):\n    if os.fork() == 0: time.sleep(1); os._exit(0)\n"
        "for n in range(6): os.wait()\n",
    )
    assert await room.says("exec", command="python3 share.py") == room.ended(0)


@pytest.mark.parametrize("sandbox", CONFINED)
async def test_every_process_has_its_bounds(tmp_path: Path, sandbox: SandboxMode) -> None:
    room = _room(tmp_path, sandbox, LIMITS)
    shown = await room.says("exec", command="ulimit -c; ulimit -t; ulimit -n; ulimit -f; cat /proc/self/oom_score_adj")
    core, cpu, files, size, oom = (int(line) for line in shown.splitlines()[:5])
    assert (core, size, oom) == (0, 20 * 1024, 1000)
    assert LIMITS.cpu_seconds < cpu <= LIMITS.cpu_seconds + 5
    assert 0 < files <= 4096


@pytest.mark.parametrize("sandbox", CONFINED)
async def test_runtimes_that_reserve_addresses_run_within_the_usual_limits(
    tmp_path: Path, sandbox: SandboxMode
) -> None:
    """They ask for far more addresses than memory: a limit on addresses would end them."""
    room = _room(tmp_path, sandbox, Limits())
    reserve = "import mmap; m = mmap.mmap(-1, 20 << 30, flags=0x4022); m[0] = 1; print('reserved')"
    assert await room.says("exec", command=f'python3 -c "{reserve}"') == f"reserved\n{room.ended(0)}"


async def test_a_warden_that_was_stopped_is_missed(tmp_path: Path, sleep: str) -> None:
    room = _room(tmp_path, "off", LIMITS)
    error = await room.refused("exec", command=f"setsid {sleep} & kill -STOP $PPID; {sleep}", timeout=30)
    assert error.code == "SUPERVISOR_KILLED"
    assert running(sleep) == []


async def test_watching_costs_next_to_nothing(tmp_path: Path, sleep: str) -> None:
    """The warden's share of CPU time while a command waits."""
    room = _room(tmp_path, "off", Limits())
    task = asyncio.create_task(room.call("exec", command=f"{sleep} & {sleep} & {sleep} & wait"))
    await until(lambda: len(running(sleep)) >= 4, 5)
    warden = next(pid for pid in running(sleep) if "warden.py" in _command(pid))
    before, began = _cpu(warden), time.monotonic()
    await asyncio.sleep(2)
    share = (_cpu(warden) - before) / (time.monotonic() - began)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    print(f"the warden takes {share:.1%} of one processor")
    assert share < 0.05


def _room(folder: Path, sandbox: SandboxMode, limits: Limits) -> Room:
    room = Room(folder, sandbox)
    room.policy = dataclasses.replace(room.policy, commands=CommandPolicy(sandbox, limits=limits))
    return room


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_limits_hold_for_a_job_in_the_background_too(tmp_path: Path) -> None:
    room = _room(tmp_path, "off", LIMITS)
    jobs = Jobs()
    policy = ToolPolicy(commands=CommandPolicy("off", limits=LIMITS))
    context = dataclasses.replace(room.context(), jobs=jobs, policy=policy)
    begun = await call(TOOLS["exec"], {"command": "while :; do :; done", "background": True}, context)
    handle = begun.content.split()[1]
    read = await call(TOOLS["exec_output"], {"handle": handle, "wait": 20}, context)
    assert f"{handle} has ended · CPU_LIMIT: " in read.content
    with pytest.raises(ToolError) as caught:
        await call(TOOLS["exec_output"], {"handle": "job_none"}, context)
    assert caught.value.code == "JOB_LOST"
    await jobs.close()
