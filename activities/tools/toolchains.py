"""Where interpreters and compilers live outside of the system's own folders: what the sandbox must show to run them.

People's homes are not shown in the sandbox, but much that is on PATH lives there: virtual environments, version
managers, `~/.cargo/bin`. Only the programs are shown, never the folder of settings and keys around them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

IN_HOME = (
    ".asdf/installs",
    ".cargo/bin",
    ".local/bin",
    ".local/share/mise/installs",
    ".local/share/pipx/venvs",
    ".local/share/uv/python",
    ".local/share/uv/tools",
    ".nvm/versions",
    ".pyenv/bin",
    ".pyenv/libexec",
    ".pyenv/plugins",
    ".pyenv/shims",
    ".pyenv/version",
    ".pyenv/versions",
    ".rustup/settings.toml",
    ".rustup/toolchains",
    ".sdkman/candidates",
    ".volta/bin",
    ".volta/tools",
    "go/bin",
)
"""Installed programs, by the version managers' and installers' own documentation; no settings, no credentials."""
HOMES = {"RUSTUP_HOME": ".rustup", "PYENV_ROOT": ".pyenv"}
"""Variables that tell version managers where they are installed; else they look in HOME, which is the workspace."""
PROGRAMS = frozenset({"bin", "sbin", "shims", "Scripts"})


def toolchains(path: str) -> list[str]:
    """Existing folders (and a file or two) to show read-only, for commands whose PATH is `path`."""
    found = {sys.prefix, sys.base_prefix}
    home = Path.home()
    found |= {str(home / place) for place in IN_HOME}
    for entry in path.split(":"):
        if os.path.isabs(entry) and os.path.basename(entry.rstrip("/")) in PROGRAMS:
            found |= set(_around(Path(entry), home))
    return sorted(place for place in found if os.path.exists(place) and Path(place) not in (home, Path("/")))


def installed() -> dict[str, str]:
    """The variables of `HOMES` for what is there."""
    return {name: str(Path.home() / place) for name, place in HOMES.items() if (Path.home() / place).is_dir()}


def _around(folder: Path, home: Path) -> Iterator[str]:
    """A folder of PATH, with the rest of the installation it belongs to, where it is known to be one."""
    yield str(folder)
    prefix = folder.parent
    environment = prefix / "pyvenv.cfg"
    if environment.is_file():
        yield str(prefix)
        for line in environment.read_text(errors="replace").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "home" and Path(value.strip()).name == "bin":
                yield str(Path(value.strip()).parent)
    elif (prefix / "lib").is_dir() and not _personal(prefix, home):
        yield str(prefix)


def _personal(prefix: Path, home: Path) -> bool:
    """A home, or a folder such as ~/.local or ~/.cargo where programs lie beside keys."""
    return prefix in (home, home / ".local", home / ".cargo") or prefix.parent == home
