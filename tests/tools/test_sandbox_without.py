"""Without the sandbox: a worker that concealed itself, and is not root, keeps its key from commands of its own user.

Against root there is no such protection; `perdure doctor` says so where it applies. The tests run as root too: then
worker and command become one plain user by themselves, since that one may not be let into the interpreter's folder.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

SECRET = "sk-precious-4bQ9"
PLAIN = """
import ctypes, os, sys
from activities.tools.environment import conceal
c = ctypes.CDLL(None, use_errno=True)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    c.prctl(4, 1, 0, 0, 0)  # as dumpable as a process that just logged in
"""
WORKER = """
if sys.argv[1] == "concealed":
    conceal()
print("up", flush=True)
sys.stdin.read()
"""
TRICKS = {
    "environment": "print(open(f'/proc/{pid}/environ').read())",
    "environment through a thread": "print(open(f'/proc/{pid}/task/{pid}/environ').read())",
    "memory": """
for line in open(f'/proc/{pid}/maps'):
    if '[stack]' in line:
        begin, end = (int(part, 16) for part in line.split()[0].split('-'))
        with open(f'/proc/{pid}/mem', 'rb') as file:
            file.seek(begin)
            print(file.read(end - begin))
""",
    "reading another's memory": """
class Part(ctypes.Structure): _fields_ = [('at', ctypes.c_void_p), ('length', ctypes.c_size_t)]
stack = next(line for line in open(f'/proc/{pid}/maps') if '[stack]' in line).split()[0].split('-')
begin, end = (int(part, 16) for part in stack)
buffer = ctypes.create_string_buffer(end - begin)
c.process_vm_readv(pid, ctypes.byref(Part(ctypes.addressof(buffer), end - begin)), 1,
                   ctypes.byref(Part(begin, end - begin)), 1, 0)
print(buffer.raw)
""",
    "ptrace": """
c.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if c.ptrace(16, pid, 0, 0) != 0:
    raise PermissionError(ctypes.get_errno())
os.waitpid(pid, 0x40000000)
c.ptrace(17, pid, 0, 0)
print('sk-precious, for a debugger reads what it likes')
""",
    "its open files": "print('sk-precious, in', os.readlink(f'/proc/{pid}/fd/0'))",
    "its folder": "print('sk-precious, in', os.readlink(f'/proc/{pid}/cwd'))",
    "its file system": "print('sk-precious, in', os.listdir(f'/proc/{pid}/root/'))",
}


@pytest.fixture(params=["concealed", "open"])
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, int]]:
    """How the process keeps itself, and its pid."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PLAIN + WORKER, request.param),
        cwd=Path(__file__).parents[2],
        env={"ANTHROPIC_API_KEY": SECRET},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    yield request.param, process.pid
    process.kill()
    await process.communicate()


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_concealed_worker_keeps_its_key_from_commands_of_its_user(worker: tuple[str, int], trick: str) -> None:
    """Each trick works on a process that did not conceal itself, so that it is one."""
    how, pid = worker
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{PLAIN}\npid = {pid}\n{TRICKS[trick]}"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    read, complaint = await command.communicate()
    last = complaint.decode().strip().splitlines()[-1:]
    print(f"{trick:32} {how:10} {'refused: ' + last[0] if last else 'read' if b'sk-precious' in read else 'nothing'}")
    assert (b"sk-precious" in read) is (how == "open" and not _forbidden_anyway(trick))
    assert how == "open" or b"Permission" in complaint or b"not permitted" in complaint


def _forbidden_anyway(trick: str) -> bool:
    """Yama, where it is on, lets no process trace one that is not its child."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return trick in ("ptrace", "memory", "reading another's memory") and scope.exists() and scope.read_text() != "0\n"
