"""The environment that commands see: an allow-list, so that no key reaches them by being forgotten.

The allowed variables are passed on, not interpreted: settings are read in `settings.py` alone.
"""

import os
from collections.abc import Mapping
from pathlib import Path

ALLOWED = frozenset({"LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"})
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def scrubbed(
    workspace: Path, secrets: tuple[str, ...] = (), source: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """`source` reduced to `ALLOWED` and `LC_*`, less `secrets`, with HOME in the workspace."""
    kept = {
        name: value
        for name, value in source.items()
        if (name in ALLOWED or name.startswith("LC_")) and name not in secrets
    }
    kept.setdefault("PATH", DEFAULT_PATH)
    kept["HOME"] = os.path.abspath(workspace)
    return kept
