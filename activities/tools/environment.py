"""The environment that commands see: an allow-list, so that no key reaches them by being forgotten.

The allowed variables are passed on, not interpreted: settings are read in `settings.py` alone.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ALLOWED = frozenset({"LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"})
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def scrubbed(workspace: Path, secrets: tuple[str, ...] = (), source: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`source` reduced to `ALLOWED` and `LC_*`, less `secrets`, with HOME in the workspace."""
    kept = {
        name: value
        for name, value in source.items()
        if (name in ALLOWED or name.startswith("LC_")) and name not in secrets
    }
    kept.setdefault("PATH", DEFAULT_PATH)
    kept["HOME"] = str(workspace.absolute())
    return kept


def conceal() -> None:
    """Close this process's /proc files (environ, mem) to other processes of the same user, commands included.

    For the worker at its start: a command sees no key in its own environment, but could read the worker's.
    Linux only (PR_SET_DUMPABLE, prctl(2)); it does not stop root, so workers should not run as root.
    """
    if sys.platform == "linux":
        pr_set_dumpable = 4
        ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)
