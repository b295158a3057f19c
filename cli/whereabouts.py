"""What an embedded Temporal leaves in its data dir for other processes: where it answers, and who may start one.

`temporal.json` is written before the server answers and removed when it was stopped in order; after a kill it is stale,
so what it says holds only while `is_ours` says so too. `temporal.lock` is freed by the kernel, however its holder ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


class EmbeddedError(Exception):
    """The embedded Temporal cannot be had; the message says why and what to do."""


class DataDirTaken(EmbeddedError):
    """Another process runs a Temporal on this data dir."""


@dataclass(frozen=True, slots=True)
class EmbeddedAddress:
    """Where an embedded Temporal answers: `host:port`, the address of its UI, its process."""

    address: str
    ui_url: str
    pid: int


def database_file(data_dir: Path) -> Path:
    """Absolute: the server's command line carries it, and `is_ours` looks for it there."""
    return Path(os.path.abspath(data_dir)) / "temporal.db"


def told(data_dir: Path) -> EmbeddedAddress | None:
    """What `temporal.json` says; None when there is none that can be read."""
    try:
        content = json.loads(_file(data_dir).read_text())
        return EmbeddedAddress(str(content["address"]), str(content["uiUrl"]), int(content["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tell(data_dir: Path, where: EmbeddedAddress) -> None:
    """Write `temporal.json` whole or not at all."""
    draft = _file(data_dir).with_suffix(".json.new")
    draft.write_text(json.dumps({"address": where.address, "uiUrl": where.ui_url, "pid": where.pid}))
    draft.replace(_file(data_dir))


def forget(data_dir: Path) -> None:
    _file(data_dir).unlink(missing_ok=True)


def is_ours(pid: int, data_dir: Path) -> bool:
    """Whether this process is a Temporal on this data dir, and not another one that got the pid since."""
    return str(database_file(data_dir)) in _command_line(pid)


def lock(data_dir: Path) -> int:
    """Take the data dir for this process; closing the descriptor gives it back. Raises DataDirTaken."""
    descriptor = os.open(data_dir / "temporal.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DataDirTaken(
            f"Process {holder} runs Perdure's Temporal on {data_dir} already: stop it, or choose another --data-dir."
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _file(data_dir: Path) -> Path:
    return data_dir / "temporal.json"


def _command_line(pid: int) -> str:
    """Of a living process, its arguments; empty for one that has ended."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout
