"""The processes of a command as its warden sees them: what they take together, and their end.

Like `warden.py`, which alone uses it, it knows nothing of the project.
"""

# ruff: noqa: SIM105
# (What pathlib and contextlib would add to the start of every command is more than the rest takes.)

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
FIRST_LOOK = 0.03
LOOKS = (0.05, 0.1, 0.5)
"""Seconds between two looks: while the tree grows, while it does not, and at most however large it is."""
SHARE = 20
"""A look may take one part in so many of the time: a large tree is looked at less often."""
THREADS = 8
"""Threads allowed for each process that is allowed."""
REAPED = 1_000
PATIENCE = 20.0
"""Seconds to go on killing, which takes milliseconds: to leave a fork bomb half dead is to leave it. What lives longer
cannot be killed (another user's, or stuck in the kernel)."""


class Tree:
    """What the command and its descendants take together, looked at often enough to matter, seldom enough not to cost.

    Memory is what is resident, shared pages counted once (PSS). CPU time includes that of processes that ended and
    were waited for.
    """

    def __init__(self, limits: list[int]) -> None:
        self._cpu, self._memory, self._processes, _ = limits
        self._next = time.monotonic() + FIRST_LOOK
        self._last = (0, 0)
        self._watched = sys.platform == "linux" and os.path.exists("/proc/self/stat")

    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - time.monotonic()) if self._watched else 3600.0

    def passed(self) -> bytes:
        """The limit that was passed, or nothing; also when it is not yet time to look."""
        began = time.monotonic()
        if not self._watched or began < self._next:
            return b""
        found = _looked(self._processes)
        memory = sum(one.memory for one in found.values())
        grows = len(found) > self._last[0] or memory > self._last[1]
        self._last = (len(found), memory)
        word = b""
        if len(found) > self._processes or sum(one.threads for one in found.values()) > THREADS * self._processes:
            word = b"processes"
        elif memory > self._memory and sum(_shared_once(pid, one.memory) for pid, one in found.items()) > self._memory:
            word = b"memory"
        elif sum(one.cpu for one in found.values()) + sum(os.times()[2:4]) > self._cpu:
            word = b"cpu"
        now = time.monotonic()
        self._next = now + min(max(LOOKS[0] if grows else LOOKS[1], SHARE * (now - began)), LOOKS[2])
        return word


class Taken:
    """What one process takes: threads, resident bytes, seconds of CPU (with those of its dead children)."""

    def __init__(self, stat: list[bytes]) -> None:  # fields from the third on, proc_pid_stat(5)
        self.threads = int(stat[17])
        self.memory = int(stat[21]) * PAGE
        self.cpu = sum(int(ticks) for ticks in stat[11:15]) / TICKS


def _looked(enough: int) -> dict[int, Taken]:
    """The descendants. Of more than `enough` it matters only that they are more."""
    found: dict[int, Taken] = {}
    pending = _children(os.getpid(), 1)
    while pending and len(found) <= enough:
        pid = pending.pop()
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                taken = Taken(file.read().rpartition(b")")[2].split())
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
        found[pid] = taken
        pending.extend(_children(pid, taken.threads))
    return found


def _children(pid: int, threads: int) -> list[int]:
    """Cheaper than a look at every process of the machine; incomplete while they come and go, which the next look
    makes up for."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task") if threads > 1 else (pid,):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def _shared_once(pid: int, resident: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (ProcessLookupError, FileNotFoundError):
        return 0  # it has ended since it was counted, and takes nothing any more
    except OSError:
        pass
    return resident


def reaped(at_most: int = REAPED) -> dict[int, int]:
    """The exit codes of children that ended, by pid; orphans that were inherited among them. Of a fork bomb there are
    new ones for ever: not more than `at_most` at a time."""
    codes: dict[int, int] = {}
    for _ in range(at_most):
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes
        if pid == 0:
            return codes
        code = os.waitstatus_to_exitcode(status)
        codes[pid] = code if code >= 0 else 128 - code
    return codes


def kill_tree(child: int) -> None:
    """Kill and reap until no child is left; orphans become children, so then nothing is left at all."""
    end = time.monotonic() + PATIENCE
    while _has_children() and time.monotonic() < end:
        if sys.platform == "linux" and os.path.exists("/proc/self/stat"):
            _kill_groups()
            tree = _stopped_tree(end)
        else:
            tree = {-child}
        for pid in tree:
            _send(pid, signal.SIGKILL)
        while len(reaped()) == REAPED and time.monotonic() < end:
            pass
        time.sleep(0.001)


def _kill_groups() -> None:
    """Kill the descendants group by group. A group dies at once, with what is being forked in it: the end of most fork
    bombs. The command leads a session of its own, so whatever group a descendant is in has descendants only."""
    for group in set(_descendants().values()) - {0, os.getpgrp()}:
        _send(-group, signal.SIGKILL)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _stopped_tree(end: float) -> set[int]:
    """Every living descendant, stopped first, so that none forks while it is being counted. `end`: when to give up.

    A look at all processes takes long enough for a fork bomb to make new ones. These have the pids that come next, so
    they are few to look at, and those born meanwhile fewer still.
    """
    stopped: set[int] = set()
    seen = _last_pid()
    while new := _descendants().keys() - stopped:
        for pid in new:
            _send(pid, signal.SIGSTOP)
        stopped |= new
        while (last := _last_pid()) > seen and time.monotonic() < end:
            for pid in range(seen + 1, last + 1):
                parent, _ = _parent_and_group(pid)
                if parent in stopped or parent == os.getpid():
                    _send(pid, signal.SIGSTOP)
                    stopped.add(pid)
            seen = last
        seen = last
        if time.monotonic() > end:
            break
    return stopped


def _last_pid() -> int:
    """The pid that was given last on this machine (it begins again when all were given)."""
    with open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[4])


def _parent_and_group(pid: int) -> tuple[int, int]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            _, parent, group = file.read().rpartition(b")")[2].split()[:3]
    except (OSError, ValueError):
        return 0, 0  # it has ended
    return int(parent), int(group)


def _descendants() -> dict[int, int]:
    """The group of every descendant, by its pid."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc"):
        # Zombies too: one whose first thread has ended looks like a zombie while its other threads run on.
        if name.isdigit():
            parent, group = _parent_and_group(int(name))
            children.setdefault(parent, []).append((int(name), group))
    found: dict[int, int] = {}
    pending = [os.getpid()]
    while pending:
        inner = children.get(pending.pop(), [])
        found.update(inner)
        pending.extend(pid for pid, _ in inner)
    return found


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass  # gone already, or not ours to kill
