"""`python -m bench.profile [--sessions N] [--keep FOLDER]`: where a session's CPU goes in the worker and in the API.

Both roles run under Python's own profiler, in processes apart, while sessions of a realistic model are played; then
what each took itself is printed by library and by function. The profiler costs about as much as what it looks at, and
more for small functions: shares are to be read, not seconds. What is measured without it is `python -m bench costs`.
"""

from __future__ import annotations

import argparse
import asyncio
import pstats
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from rich.console import Console
from rich.table import Table

from bench import scripts
from bench.processes import ROOT, key_of, scratch, scripted_model, started
from bench.stand import crowd, run_session
from cli.embedded import EmbeddedTemporal
from session.wire import SEARCH_ATTRIBUTES

ROLES: Final = {"worker": re.compile(rb"polling"), "api": re.compile(rb"http://[\w.\[\]:]+")}
AT_ONCE: Final = 20
SHOWN: Final = 15
_LIBRARY: Final = re.compile(r"site-packages/([^/]+)")
Own = dict[str, float]
"""Seconds that something took itself, by its name."""


async def profiles(folder: Path, sessions: int) -> dict[str, Path]:
    """Play so many sessions, 20 at once; the profile of each role."""
    files = {role: folder / f"{role}.profile" for role in ROLES}
    scripts.prepare(folder / "workspaces")
    content = scripts.steps(3, **scripts.REALISTIC)
    async with scripted_model(folder) as model, EmbeddedTemporal(folder, SEARCH_ATTRIBUTES) as temporal:
        given = {**key_of(model.url), "TEMPORAL_ADDRESS": temporal.address}
        async with _role("worker", folder, files, given), _role("api", folder, files, given) as api:
            await crowd(partial(run_session, api.url, content), sessions, AT_ONCE)
    return files


def _role(role: str, folder: Path, files: Mapping[str, Path], environment: Mapping[str, str]) -> Any:
    profiler = (sys.executable, "-m", "cProfile", "-o", str(files[role]), "-m", "cli.main")
    command = (*profiler, role, "--data-dir", str(folder), *(("--port", "0") if role == "api" else ()))
    return started(command, folder / f"{role}.log", environment, ROLES[role])


def own_times(file: Path) -> tuple[Own, Own]:
    """What each library and each function took itself in this profile; waiting for events is left out."""
    by_library: defaultdict[str, float] = defaultdict(float)
    by_function: defaultdict[str, float] = defaultdict(float)
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]]
    stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined] # it is there, and typed nowhere
    for (path, line, name), (_, _, own, _, _) in stats.items():
        if _waits(path, name):
            continue
        library = library_of(path)
        by_library[library] += own
        by_function[f"{library} · {name}" + (f" ({Path(path).name}:{line})" if line else "")] += own
    return dict(by_library), dict(by_function)


def _waits(path: str, name: str) -> bool:
    """uvloop's run is where a loop sleeps; its own work cannot be told apart from that."""
    return path == "~" and any(word in name for word in ("run_until_complete", "run_forever", "poll", "acquire"))


def library_of(path: str) -> str:
    """The package a file belongs to: a library's name, a room of ours, `builtins`, or Python itself."""
    if path in ("~", "<string>") or path.startswith("<"):
        return "builtins"
    if found := _LIBRARY.search(path):
        return found[1]
    file = Path(path)
    if file.is_relative_to(ROOT):
        return file.relative_to(ROOT).parts[0].removesuffix(".py")
    return "python"


def show(console: Console, role: str, file: Path) -> None:
    """Print the largest of both, in percent of the role's whole."""
    for what, times in zip(("library", "function"), own_times(file), strict=True):
        whole = sum(times.values()) or 1.0
        table = Table(title=f"{role}, by {what}", title_justify="left", box=None, pad_edge=False)
        table.add_column("share", justify="right")
        table.add_column(what, no_wrap=True)
        for name, seconds in sorted(times.items(), key=lambda one: -one[1])[:SHOWN]:
            table.add_row(f"{seconds / whole:.1%}", name)
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description="Where a session's CPU goes.")
    parser.add_argument("--sessions", type=int, default=60, help="how many are played (60: half a minute)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the profiles there, for other viewers")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    with scratch() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for role, file in runner.run(profiles(folder, options.sessions)).items():
            show(console, role, file)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / file.name).write_bytes(file.read_bytes())


if __name__ == "__main__":
    main()
