"""Runs a command that ends with its parent: `python -I -S with_parent.py <parent pid> -- <command…>`.

On Linux the kernel is asked to send SIGTERM when the thread that started us is gone (prctl(2), PR_SET_PDEATHSIG); the
request outlives exec, so no process of ours remains. Elsewhere the command is only executed, and who starts the next
one looks for what was left (cli/embedded.py). Standard library alone, since it runs in front of every start.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1
USAGE = 64
NOT_STARTED = 127


def main(arguments: list[str]) -> int:
    """Become the command; returns only when that cannot be done, with the exit code that says so."""
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__, file=sys.stderr)
        return USAGE
    parent, command = int(arguments[0]), arguments[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # Asked for after the check, the signal would be missed by a parent that ended between the two.
    if os.getppid() != parent:
        return 128 + signal.SIGTERM
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
    return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
