"""The warden: a tiny process that runs one command and outlives everything the command starts.

Started as `python -I -S warden.py GATE FOLDER LIMITS PROGRAM ARGUMENT…`, in the environment that the command
shall have. It imports nothing of the project, so it is up in a few milliseconds and holds nothing worth
reading.

The gate is one end of a socket pair whose other end only the worker holds. One byte in it means go; its
end means that the call is over, or the worker is gone (killed, crashed: the system closes it). The other
way goes one word at most: the limit for which the command is killed.

Then, and when the command exits, the warden kills every descendant and exits with the command's code (128
+ n for signal n). A process that detached itself (setsid, double fork) is still a descendant: as a "child
subreaper" (prctl(2)) the warden inherits the orphans. The parent-death signal says the same as the gate a
second way; alone it would not do, since it follows the thread that forked. Elsewhere than on Linux there
is no subreaper: the command's process group is killed, and no more.

The limits (`CPU,MEMORY,PROCESSES,FILE_SIZE` in seconds and bytes) hold for the tree as a whole: the warden
looks at it some ten times a second (see `warden_tree.py`) and kills it when it has taken more. The
kernel's own limits would not do: RLIMIT_AS and RLIMIT_DATA count what runtimes merely reserve, and
RLIMIT_NPROC counts all threads of a user, and none of root's. They bound what happens between two looks:
CPU of a process, size of a file, open files, no core dumps, and how many threads a bomb can add before the
warden has its turn among them; root's warden comes before them all instead (SCHED_RR). Should the machine
run out of memory all the same, the kernel takes the command first.

What the warden cannot reach: work handed to daemons that were there before (at, cron, a container
engine). Outside of the sandbox a command can kill its warden; then the worker kills what carries the call's mark in its
environment, and what has dropped that mark goes free.
"""

# ruff: noqa: SIM105
# (What pathlib, contextlib and an early ctypes would add to the start of every command is more than the rest
# takes; and to start a program is what this is for.)

import os
import resource
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from activities.tools.warden_tree import REAPED, THREADS, Tree, kill_tree, reaped
else:
    import _signal as signal  # the same without its enums, which take longer than all the rest

    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from warden_tree import REAPED, THREADS, Tree, kill_tree, reaped

    del sys.path[0]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OPEN_FILES = 4096


def main(gate: int, folder: int, limits: list[int], command: list[str]) -> int:
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _come_first()
    wake = _wakeups()
    for descriptor in (gate, folder):
        os.set_inheritable(descriptor, False)
    if _closed(gate):
        return 128 + signal.SIGKILL
    child = _started(command, folder, limits)
    code = _watched(child, gate, wake, limits)
    kill_tree(child)
    return code


def _come_first() -> None:
    """A warden that waited its turn among the processes of a fork bomb would see it too late."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except (OSError, AttributeError):
        pass  # not root, or not Linux


def _closed(gate: int) -> bool:
    try:
        return os.read(gate, 1) == b""
    except ConnectionError:  # closed with a word of ours unread
        return True


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


def _started(command: list[str], folder: int, limits: list[int]) -> int:
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
        _confine(limits)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _confine(limits: list[int]) -> None:
    """What the kernel watches, for each process."""
    cpu, _, processes, file_size = limits
    # Past its soft limit a process gets SIGXCPU, which it may ignore; past the hard one it is killed.
    for kind, wanted, at_most in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, cpu + 1, cpu + 3),  # the tree's limit is the warden's, and comes first
        (resource.RLIMIT_FSIZE, file_size, file_size),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_NPROC, *[_threads_now() + THREADS * processes] * 2),
    ):
        _, most = resource.getrlimit(kind)
        hard = at_most if most == resource.RLIM_INFINITY else min(at_most, most)
        resource.setrlimit(kind, (min(wanted, hard), hard))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def _threads_now() -> int:
    """Threads on this machine, of the user or not."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        return 4096


def _watched(child: int, gate: int, wake: int, limits: list[int]) -> int:
    """Wait for the command's exit code, or for the reason to end it."""
    poll = select.poll()
    poll.register(gate, select.POLLIN)
    poll.register(wake, select.POLLIN)
    tree = Tree(limits)
    more = False
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(0 if more else tree.wait() * 1000)}
        if wake in ready or more:
            numbers = os.read(wake, 512) if wake in ready else b""
            ended = reaped()
            more = len(ended) == REAPED
            code = ended.get(child)
            if code is not None:
                return code
            if set(numbers) - {signal.SIGCHLD}:
                return 128 + signal.SIGTERM
        if gate in ready and _closed(gate):
            return 128 + signal.SIGKILL
        if passed := tree.passed():
            try:
                os.write(gate, passed)
            except OSError:
                pass  # the worker is gone
            try:
                os.killpg(child, signal.SIGKILL)  # at once: the group, and (bubblewrap's end) all inside the sandbox
            except OSError:
                pass  # it has just ended
            return 128 + signal.SIGKILL


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), int(sys.argv[2]), [int(limit) for limit in sys.argv[3].split(",")], sys.argv[4:]))
