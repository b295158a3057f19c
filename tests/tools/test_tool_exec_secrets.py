"""exec: what the worker knows and has open stays with the worker."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from activities.tools import TOOLS, call
from tests.tools.room import CONFINED, Room

PRECIOUS = "PERDURE_TEST_API_KEY"


@pytest.fixture(params=CONFINED)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    """A room with the sandbox, and one without."""
    return Room(tmp_path, request.param)


async def test_no_secret_of_the_worker_reaches_a_command(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRECIOUS, "sk-precious")
    monkeypatch.setenv("LC_TIME", "C")
    shown = await room.says("exec", command="env; tr '\\0' '\\n' < /proc/$PPID/environ")
    assert "sk-precious" not in shown
    assert shown.count("LC_TIME=C\n") == 2
    names = {line.split("=")[0] for line in shown.splitlines() if "=" in line}
    allowed = {"PATH", "HOME", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "USER"}
    allowed |= {"PYENV_ROOT", "RUSTUP_HOME"}  # where version managers are installed
    made_by_the_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    odd = names - allowed - made_by_the_shell - {"PERDURE_CALL"}
    assert not [name for name in odd if not name.startswith("LC_")]
    assert f"HOME={room.workspace}\n" in shown


async def test_a_variable_that_was_named_secret_is_kept_back_although_it_is_allowed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_SECRET", "sk-precious")
    context = room.context(secrets=("LC_SECRET",))
    assert "sk-precious" not in (await call(TOOLS["exec"], {"command": "env"}, context)).content


async def test_a_command_inherits_no_open_file_of_the_worker(room: Room) -> None:
    with (room.outside / "secret.txt").open() as file:
        os.set_inheritable(file.fileno(), True)
        shown = await room.says("exec", command="ls -l /proc/self/fd")
    assert sorted(line.split()[8] for line in shown.splitlines() if " -> " in line) == ["0", "1", "2", "3"]
    assert "secret" not in shown
    assert "0 -> /dev/null" in shown


CONCEALED = """
import ctypes, os, sys, time
from activities.tools.environment import conceal
if os.getuid() == 0:  # root reads everything: become a plain user, as dumpable as one who just logged in
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "concealed":
    conceal()
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["concealed", "open"])
async def test_a_worker_that_concealed_itself_cannot_be_read_by_commands_of_its_user(how: str) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CONCEALED, how),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        env={"KEY": "sk-precious"},
    )
    try:
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"up\n"
        reader = await asyncio.create_subprocess_exec(
            *("cat", f"/proc/{worker.pid}/environ"),
            user=65534 if os.getuid() == 0 else None,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        read, complaint = await reader.communicate()
    finally:
        worker.kill()
        await worker.communicate()
    assert (b"sk-precious" in read) is (how == "open")
    assert (b"Permission denied" in complaint) is (how == "concealed")
