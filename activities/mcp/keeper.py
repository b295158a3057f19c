"""Keeps one MCP server for as long as the worker wants it: `python -I -S keeper.py GATE FOLDER PROGRAM ARGUMENT…`.

The gate is the reading end of a pipe whose other end only the worker holds. Its end means that the connection is over,
or that the worker is gone (killed, crashed: the system closes it). Then, and when the server exits, everything the
server started is killed, what detached itself included: as a "child subreaper" (prctl(2)) the keeper inherits orphans.
Elsewhere than on Linux the server's process group is killed, and no more.

Commands of tools have a warden of their own (activities/tools/warden.py), which watches their limits all the time; a
server that waits for days between two calls should cost nothing meanwhile. Standard library alone.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 3.0
"""Seconds to go on killing. What lives longer cannot be killed (another user's, or stuck in the kernel)."""


def main(gate: int, folder: int, command: list[str]) -> int:
    """Run the command to its end, or to the gate's; its exit code, 128 + n for signal n."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = _started(gate, folder, command)
    for inherited in (0, 1):  # the server's alone, so that their end is the server's
        os.close(inherited)
    code = _watched(child, gate, readable)
    _kill_all(child)
    return code


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _started(gate: int, folder: int, command: list[str]) -> int:
    keeper = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(128 + signal.SIGKILL)
        os.fchdir(folder)
        for descriptor in (gate, folder):
            os.set_inheritable(descriptor, False)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
            signal.signal(number, signal.SIG_DFL)
        os.execv(command[0], command)  # noqa: S606 (what it is here for)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _watched(child: int, gate: int, wake: int) -> int:
    poll = select.poll()
    poll.register(gate, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake in ready:
            numbers = os.read(wake, 512)
            code = _reaped().get(child)
            if code is not None:
                return code
            if set(numbers) - {signal.SIGCHLD}:
                return 128 + signal.SIGTERM
        if gate in ready:
            return 128 + signal.SIGKILL


def _reaped() -> dict[int, int]:
    """The exit codes of all children that ended, by pid; orphans that were inherited among them."""
    codes: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            code = os.waitstatus_to_exitcode(found[1])
            codes[found[0]] = code if code >= 0 else 128 - code
    return codes


def _kill_all(child: int) -> None:
    """Kill our children until there is none: of each that dies we inherit what it had started."""
    end = time.monotonic() + PATIENCE
    while (targets := _children() or {-child}) and time.monotonic() < end:
        for pid in targets:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _reaped()
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        time.sleep(0.001)


def _children() -> set[int]:
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb") as file:
            return {int(pid) for pid in file.read().split()}
    except OSError:
        return set()


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
