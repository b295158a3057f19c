"""The warden: a tiny process that runs one command and outlives everything the command starts.

Started as `python -I -S warden.py GATE FOLDER PROGRAM ARGUMENT…`, in the environment that the command
shall have. It imports nothing of the project, so it is up in a few milliseconds and holds nothing worth
reading.

The gate is the reading end of a pipe whose other end only the worker holds. One byte in it means go; its
end means that the call is over, or the worker is gone (killed, crashed: the system closes the pipe).
Then, and when the command exits, the warden kills every descendant and exits with the command's code (128
+ n for signal n). A process that detached itself (setsid, double fork) is still a descendant: as a "child
subreaper" (prctl(2)) the warden inherits the orphans. The parent-death signal says the same as the gate a
second way; alone it would not do, since it follows the thread that forked. Elsewhere than on Linux there
is no subreaper: the command's process group is killed, and no more.

What the warden cannot reach: work handed to daemons that were there before (at, cron, a container
engine).
"""

# ruff: noqa: SIM105
# (What pathlib, contextlib and an early ctypes would add to the start of every command is more than the rest
# takes; and to start a program is what this is for.)

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
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake = _wakeups()
    for descriptor in (gate, folder):
        os.set_inheritable(descriptor, False)
    if os.read(gate, 1) == b"":
        return 128 + signal.SIGKILL
    child = _started(command, folder)
    code = _watched(child, gate, wake)
    _kill_tree(child)
    return code


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _wakeups() -> int:
    """A descriptor that becomes readable when a child ends or a signal asks for the end."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def _started(command: list[str], folder: int) -> int:
    warden = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(128 + signal.SIGKILL)
        os.fchdir(folder)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
            signal.signal(number, signal.SIG_DFL)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _watched(child: int, gate: int, wake: int) -> int:
    """Wait for the command's exit code, or for the reason to end it."""
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
        if gate in ready and os.read(gate, 1) == b"":
            return 128 + signal.SIGKILL


def _reaped() -> dict[int, int]:
    """The exit codes of all children that ended, by pid; orphans that were inherited among them."""
    codes: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes
        if pid == 0:
            return codes
        code = os.waitstatus_to_exitcode(status)
        codes[pid] = code if code >= 0 else 128 - code


def _kill_tree(child: int) -> None:
    """Kill and reap until no child is left; orphans become children, so then nothing is left at all."""
    end = time.monotonic() + PATIENCE
    while _has_children() and time.monotonic() < end:
        if sys.platform == "linux" and os.path.exists("/proc/self/stat"):
            tree = _stopped_tree()
        else:
            tree = {-child}
        for pid in tree:
            _send(pid, signal.SIGKILL)
        time.sleep(0.001)


def _has_children() -> bool:
    _reaped()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _stopped_tree() -> set[int]:
    """Every living descendant, stopped first, so that none forks while it is being counted."""
    stopped: set[int] = set()
    while new := _descendants() - stopped:
        for pid in new:
            _send(pid, signal.SIGSTOP)
        stopped |= new
    return stopped


def _descendants() -> set[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
        # Zombies too: one whose first thread has ended looks like a zombie while its other threads run on.
        children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    pending = [os.getpid()]
    while pending:
        inner = children.get(pending.pop(), [])
        found.update(inner)
        pending.extend(inner)
    return found


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass  # gone already, or not ours to kill


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
