"""The sandbox: a command inside bubblewrap, where only what it needs exists.

It starts from nothing and is given, read-only, the system (`SYSTEM`), the toolchains that PATH leads to, and for
writing the workspace and a bounded /tmp of its own. There are no other processes to see (own /proc), no network unless
the policy grants it, no capabilities and no further user namespaces, so nothing can be mounted; homes, the data dir,
other sessions' workspaces and whatever the worker's user alone may read in /etc are not there. Ending bubblewrap ends
everything inside; should its parent be killed, the kernel ends it.

Whether it works here is tried once per process by running it (`probe`): installed is not enough, since many containers
forbid what it needs (user namespaces, mounting a /proc).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from activities.tools.toolchains import toolchains
from session.policy import CommandPolicy, Limits

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu")
"""What of the system is shown, read-only. Everything else at the root is left out."""
CPUS = "/sys/devices/system/cpu"
"""How many processors there are; the rest of /sys is left out."""
INSTALL = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap) and allow it user namespaces"
PROBE_SECONDS = 10


@dataclass(frozen=True)
class Probe:
    """What was found: the program, with the options that all its runs share, or why there is no sandbox."""

    program: tuple[str, ...] = ()
    reason: str = ""
    version: str = ""

    @property
    def works(self) -> bool:
        return bool(self.program)


@lru_cache(maxsize=1)
def probe() -> Probe:
    """Look for bubblewrap and run it once as commands will be; takes some 20 ms, then remembers. Blocks."""
    program = shutil.which("bwrap") or shutil.which("bwrap", path=os.defpath)
    if program is None:
        return Probe(reason="bubblewrap is not installed")
    reason = ""
    # Without further user namespaces (bubblewrap 0.8 and newer) the kernel's mounting code is out of reach.
    for strict in (("--disable-userns",), ()):
        candidate = Probe((program, "--unshare-all", "--unshare-user", *strict))
        with tempfile.TemporaryDirectory() as folder:
            tried = _tried(candidate, folder)
        if not tried:
            return Probe(candidate.program, version=_version(program))
        reason = tried
    return Probe(reason=f"bubblewrap does not work here ({reason})")


def _tried(candidate: Probe, folder: str) -> str:
    """Run `candidate` on a workspace; what went wrong, or nothing."""
    command = inside(candidate, CommandPolicy(), folder, folder, "", ("/bin/sh", "-c", "echo $$ > it && cat it"))
    try:
        ended = subprocess.run(
            command, capture_output=True, timeout=PROBE_SECONDS, check=False, stdin=subprocess.DEVNULL, env={}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    if ended.returncode == 0 and ended.stdout.strip() == b"2":  # right after bubblewrap's own reaper
        return ""
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("bwrap: ") if lines else f"exit code {ended.returncode}"


def _version(program: str) -> str:
    told = subprocess.run((program, "--version"), capture_output=True, timeout=PROBE_SECONDS, check=False)
    return told.stdout.decode(errors="replace").strip()


def inside(
    found: Probe, policy: CommandPolicy, workspace: str, folder: str, path: str, program: Sequence[str]
) -> tuple[str, ...]:
    """The command line that runs `program` in the sandbox. `workspace` and `folder` (in it) are free of links; `path`
    is the PATH the command has, whose toolchains are shown."""
    shown = {root: root for root in SYSTEM if os.path.isdir(root) and not os.path.islink(root)}
    shown |= {place: os.path.realpath(place) for place in toolchains(path) if not _within(place, SYSTEM)}
    return (
        *found.program,
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *(("--share-net",) if policy.network else ()),
        *_own(policy.limits),  # first: some toolchains are in /tmp
        *_system(shown),
        *_covers(policy.hidden, shown, under=None),
        *("--bind", workspace, workspace),
        *_covers(policy.hidden, {workspace: workspace}, under=workspace),
        *("--remount-ro", "/", "--chdir", folder, "--", *program),
    )


def _system(shown: dict[str, str]) -> Iterator[str]:
    for root in SYSTEM:
        if os.path.islink(root):
            yield from ("--symlink", os.readlink(root), root)
    for place in sorted(shown):  # what lies above comes first, or it would hide what lies below
        yield from ("--ro-bind", shown[place], place)
    for secret, folder in _closed("/etc"):
        yield from ("--perms", "0000", "--tmpfs", secret, "--remount-ro", secret) if folder else _nothing(secret)
    names = os.path.realpath("/etc/resolv.conf")  # often a link to somewhere in /run
    if not _within(names, shown):
        yield from ("--ro-bind-try", names, names)
    yield from ("--ro-bind-try", CPUS, CPUS)


def _own(limits: Limits) -> Iterator[str]:
    """What the command has for itself. In memory, hence bounded."""
    # As root one could write to /proc/sys, whose owner is root, without any capability.
    yield from ("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--remount-ro", "/dev")
    for place, share in (("/dev/shm", 4), ("/tmp", 2)):  # noqa: S108 (its own)
        yield from ("--perms", "1777", "--size", str(max(1 << 20, limits.memory // share)), "--tmpfs", place)
    yield from ("--symlink", "../tmp", "/var/tmp", "--dir", "/run")  # noqa: S108 (its own)


def _covers(hidden: Sequence[str], shown: dict[str, str], under: str | None) -> Iterator[str]:
    """Cover what must not be seen wherever it would be: in `shown`, a map of places inside to what they show."""
    for secret in {os.path.realpath(path) for path in hidden if os.path.exists(path)}:
        for place, source in shown.items():
            if not _within(secret, (source,)) or secret == under:
                continue
            covered = os.path.normpath(os.path.join(place, os.path.relpath(secret, source)))
            if os.path.isdir(secret):
                yield from ("--tmpfs", covered, *(("--remount-ro", covered) if under else ()))
            else:
                yield from _nothing(covered)


def _nothing(path: str) -> tuple[str, ...]:
    return "--ro-bind", "/dev/null", path


def _within(path: str, roots: Sequence[str] | dict[str, str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


@lru_cache(maxsize=4)
def _closed(root: str) -> tuple[tuple[str, bool], ...]:
    """Files and folders (True) that not everybody may read: the worker's user may well, root above all."""
    found: list[tuple[str, bool]] = []
    pending = [root]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IROTH and mode & stat.S_IXOTH:
                pending.append(entry.path)
            elif (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and not (mode & stat.S_IROTH):
                found.append((entry.path, stat.S_ISDIR(mode)))
    return tuple(found)


def sandbox_path(path: str | Path) -> str:
    """`path` free of links, as the sandbox names it."""
    return os.path.realpath(path)
