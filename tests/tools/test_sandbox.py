"""The sandbox: tricks by which a command might read, reach or change what is not its own. Each is harmless.

Where bubblewrap does not work, these tests say so, and hold that nothing runs instead.
"""

import asyncio
import dataclasses
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.tools import TOOLS, ToolError, call
from activities.tools import command as command_module
from activities.tools.sandbox import Probe, probe
from session.policy import CommandPolicy
from tests.tools.room import Room

SECRET = "sk-precious-4bQ9"

CONNECT = "python3 -c 'import socket as s; c = s.socket(s.AF_UNIX); c.connect(\"{}\"); print(c.recv(99))'"

TRICKS = {
    # Other processes: the worker's environment and memory, and ways to stop it.
    "environment of all processes": "cat /proc/*/environ | tr '\\0' '\\n'",
    "environment of the worker": "tr '\\0' '\\n' < /proc/{pid}/environ",
    "memory of the worker": "grep -a -o 'sk-precious.*' /proc/{pid}/mem; dd if=/proc/{pid}/mem bs=4096 count=9 skip=1",
    "files opened by the worker": "ls -l /proc/{pid}/fd /proc/{pid}/cwd/; cat /proc/{pid}/root{outside}/secret.txt",
    "command lines of all processes": "ps axww; cat /proc/*/cmdline | tr '\\0' ' '",
    "ptrace": (
        "python3 -c 'import ctypes; print(\"attached\" if ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0 else 0)'"
        " | grep attached && touch {outside}/mark"
    ),
    "killing the worker": "kill -KILL {pid}; kill -KILL -{pid}; kill -KILL -1; true",
    # Files that are not the session's.
    "a file outside": "cat {outside}/secret.txt",
    "a link to a file outside": "ln -s {outside}/secret.txt l; cat l; cat < l",
    "dots": "cat ../outside/secret.txt; cd ..; ls -R .",
    "a hard link": "ln {outside}/secret.txt h; cat h",
    "the root of another process": "cat /proc/1/root{outside}/secret.txt /proc/$PPID/root{outside}/secret.txt",
    "the root that was left": "ls /oldroot /.oldroot /newroot; cat /oldroot{outside}/secret.txt",
    "the namespaces of the first process": "nsenter -t 1 -a cat {outside}/secret.txt",
    "the data dir": "cat {outside}/data/perdure.db",
    "the data dir in a folder of programs": "cat {outside}/venv/data/key {outside}/venv/key",
    "another session's workspace": "ls -R {outside}/workspaces; cat {outside}/workspaces/other/notes",
    "homes": "cat ~root/.ssh/* /root/.ssh/* /home/*/.ssh/* ; find /root /home -name 'id_*' -exec cat {{}} + ; true",
    "the shared temporary folder": "cat /tmp/perdure-test-{pid} /var/tmp/perdure-test-{pid}",
    "passwords": "cat /etc/shadow /etc/shadow- /etc/gshadow | grep -q : && cat /etc/shadow && touch {outside}/mark",
    "devices": "ls /dev; cat /dev/mem /dev/kmsg /dev/sda /dev/vda | head -c 99 | grep -q . && touch {outside}/mark",
    "a device of one's own": "mknod d b 254 0 && head -c 99 d && touch {outside}/mark",
    "everything": "grep -r -s -l -a 'sk-precious' / --exclude-dir={{proc,sys,usr,opt,ven}}",
    # Changes.
    "writing outside": "touch {outside}/mark; echo x > {outside}/mark; mkdir {outside}; mkdir -p {outside}/x",
    "writing to the system": (
        "for d in / /etc /usr /usr/bin /opt /dev /proc /sys /var /run; do touch $d/{name} && echo written; done;"
        "ls /{name} /etc/{name} /usr/{name} && echo written"
    ),
    "kernel settings": (
        "for f in kernel/core_pattern kernel/hostname vm/overcommit_memory; do"
        " [ -w /proc/sys/$f ] && echo 'x' > /proc/sys/$f && echo changed; done;"
        "echo h > /proc/sysrq-trigger && echo changed"
    ),
    "mounting": "mkdir m; mount -t tmpfs none m && echo mounted; mount --bind / m && echo mounted",
    "mounting the system writable": "mount -o remount,rw,bind /usr && touch /usr/{name} && echo mounted",
    "mounting in a namespace of one's own": "unshare -Urm sh -c 'mount -t tmpfs none /mnt && echo mounted'",
    "unmounting": "umount /proc && echo mounted; umount -l /usr && echo mounted",
    "leaving by chroot": "mkdir -p c; chroot c true; chroot . cat {outside}/secret.txt && echo left",
    "filling memory through files": "for d in /tmp /dev/shm; do head -c 3G /dev/zero > $d/big && echo filled; done",
    # The network.
    "a server on loopback": "exec 3<> /dev/tcp/127.0.0.1/{port} && head -c 99 <&3",
    "a server on another address": "exec 3<> /dev/tcp/{address}/{port} && head -c 99 <&3",
    "an abstract socket": CONNECT.format("\\0perdure-{pid}"),
    "a socket in the file system": CONNECT.format("{outside}/socket"),
    "names": "getent hosts example.com && echo resolved",
}
BOASTS = ("mounted", "changed", "attached", "written", "left\n", "filled", "resolved")


@pytest.fixture
async def worker() -> AsyncIterator[int]:
    """The pid of a process of the commands' own user with the secret in its environment and on its command line."""
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, SECRET),
        env={"ANTHROPIC_API_KEY": SECRET},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    yield process.pid
    assert process.returncode is None, "a command has killed it"
    process.kill()
    await process.communicate()


@pytest.fixture
async def room(tmp_path: Path, worker: int) -> AsyncIterator[Room]:
    """A room with all kinds of things outside it, and servers that tell the secret to who reaches them."""
    made = Room(tmp_path, "require")
    outside = made.outside
    for path in ("secret.txt", "data/perdure.db", "venv/data/key", "venv/key", "workspaces/other/notes"):
        (outside / path).parent.mkdir(parents=True, exist_ok=True)
        (outside / path).write_text(SECRET)
    (outside / "venv/bin").mkdir()
    (outside / "venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    shared = outside.parent / "shared"
    shared.symlink_to(f"/tmp/perdure-test-{worker}")
    shared.write_text(SECRET)
    hidden = (str(outside / "data"), str(outside / "venv/data"), str(outside / "venv/key"), str(outside / "workspaces"))
    made.policy = dataclasses.replace(made.policy, commands=CommandPolicy("require", hidden=hidden))

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SECRET.encode())
        await writer.drain()
        writer.close()

    abstract = await asyncio.start_unix_server(tell, f"\0perdure-{worker}")
    named = await asyncio.start_unix_server(tell, outside / "socket")
    tcp = await asyncio.start_server(tell, "127.0.0.1", 0)
    made.heard = []
    made.port = tcp.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    yield made
    for server in (abstract, named, tcp):
        server.close()
        await server.wait_closed()
    shared.resolve().unlink()


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_trick_gets_out(room: Room, worker: int, trick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    monkeypatch.setenv("PATH", f"{room.outside}/venv/bin:{os.environ['PATH']}")
    facts = {"pid": worker, "outside": room.outside, "name": f"perdure-{worker}", "address": _address()}
    line = TRICKS[trick].format(**facts, port=room.port)  # type: ignore[attr-defined]
    if await _is_missing(room):
        return
    line = f"{{ {line}\n}}; echo the end was reached"
    try:
        shown = await room.says("exec", command=line, timeout=30)
    except ToolError as error:
        shown = error.content
    print(f"{trick:40} harmless: {_complaint(shown)}")
    told = shown.replace(line, "")  # it may see its own command line
    assert "sk-precious-" not in told
    assert not [boast for boast in BOASTS if boast in told]
    assert shown.endswith("sandbox: bubblewrap")
    assert not (room.outside / "mark").exists()
    assert (room.outside / "secret.txt").read_text() == SECRET
    assert _strewn(f"perdure-{worker}") == []


async def test_each_of_these_would_be_no_trick_without_the_sandbox(room: Room, worker: int) -> None:
    """They do reach something: without the sandbox a file, a socket, a server and a process are within reach."""
    room.policy = dataclasses.replace(room.policy, commands=CommandPolicy("off"))
    for trick in ("a file outside", "a server on loopback", "an abstract socket", "a socket in the file system"):
        line = TRICKS[trick].format(pid=worker, outside=room.outside, port=room.port)  # type: ignore[attr-defined]
        assert SECRET in await room.says("exec", command=line), trick
    assert str(worker) in await room.says("exec", command="ls /proc")


async def test_a_command_in_the_sandbox_has_what_it_needs(room: Room) -> None:
    if await _is_missing(room):
        return
    room.file("src/a.txt", "here")
    shown = await room.says(
        "exec",
        workdir="src",
        command=(
            'pwd; cat a.txt; echo; touch made "$HOME/made"; echo t > /tmp/t; cat /tmp/t; echo s > /dev/shm/s; nproc;'
            f"{sys.executable} -c 'import pydantic; print(pydantic.__name__)'; git --version;"
            "head -c 4 /dev/urandom | wc -c"
        ),
    )
    lines = shown.splitlines()
    assert lines[:3] == [f"{room.workspace}/src", "here", "t"]
    assert lines[4] == "pydantic"
    assert lines[5].startswith("git version")
    assert lines[-2:] == ["4", room.ended(0)]
    assert (room.workspace / "made").exists() and (room.workspace / "src/made").exists()


async def test_a_server_inside_is_reached_from_inside(room: Room) -> None:
    if await _is_missing(room):
        return
    command = (
        "echo found > f; python3 -m http.server 8765 --bind 127.0.0.1 2> /dev/null & "
        "until python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8765/f\").read().decode())'"
        " 2> /dev/null; do sleep 0.05; done"
    )
    assert await room.says("exec", command=command, timeout=20) == f"found\n\n{room.ended(0)}"


async def test_the_network_is_there_where_the_operator_allows_it(room: Room) -> None:
    if await _is_missing(room):
        return
    room.policy = dataclasses.replace(room.policy, commands=CommandPolicy("require", network=True))
    line = TRICKS["a server on loopback"].format(port=room.port)  # type: ignore[attr-defined]
    assert SECRET in await room.says("exec", command=line)


@pytest.mark.parametrize("demanded", ["by the setting", "by the session"])
async def test_where_it_is_demanded_and_does_not_work_nothing_runs(
    room: Room, demanded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "probe", lambda: Probe(reason="bubblewrap is not installed"))
    room.policy = dataclasses.replace(
        room.policy, commands=CommandPolicy("require" if "setting" in demanded else "off")
    )
    context = room.context(sandbox_only="session" in demanded)
    for background in (False, True):
        with pytest.raises(ToolError) as caught:
            await call(TOOLS["exec"], {"command": "touch ran", "background": background}, context)
        assert caught.value.code == "SANDBOX_UNAVAILABLE"
        assert "apt-get install bubblewrap" in caught.value.message
    assert not (room.workspace / "ran").exists()


async def test_without_demand_the_result_says_that_there_was_no_sandbox(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "probe", lambda: Probe(reason="bubblewrap is not installed"))
    room.policy = dataclasses.replace(room.policy, commands=CommandPolicy("auto"))
    assert await room.says("exec", command="true") == "exit code: 0 · sandbox: limits"


def test_what_was_found_on_this_machine_is_told() -> None:
    found = probe()
    print(f"the sandbox on this machine: {found.version if found.works else f'NONE, {found.reason}'}")
    assert found.works is (found.reason == "")


async def _is_missing(room: Room) -> bool:
    """Whether bubblewrap does not work on this machine; then what demands it is refused, and that is said aloud."""
    if probe().works:
        return False
    print(f"NO SANDBOX ON THIS MACHINE: {probe().reason}")
    assert (await room.refused("exec", command="true")).code == "SANDBOX_UNAVAILABLE"
    return True


def _strewn(name: str) -> list[str]:
    return [place for place in ("/etc", "/usr", "/opt", "/", "/var") if os.path.exists(f"{place}/{name}")]


def _address() -> str:
    """An address of this machine other than loopback, as far as it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probing:
        try:
            probing.connect(("192.0.2.1", 9))
            return str(probing.getsockname()[0])
        except OSError:
            return "127.0.0.2"


def _complaint(shown: str) -> str:
    lines = [line for line in shown.splitlines() if ": " in line and "sandbox:" not in line]
    return (lines[0].rpartition(": ")[2] if lines else "nothing there")[:60]
