"""The processes under test: started, found in the process table, stopped. Each is ended with its context."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[1]
PERDURE: Final = (sys.executable, "-m", "cli.main")
_WITH_US: Final = (sys.executable, "-I", "-S", str(ROOT / "cli" / "with_parent.py"))
"""However this process ends, what it started ends too."""
START_SECONDS = 60.0
STOP_SECONDS = 30.0
_URL = re.compile(rb"http://[\w.\[\]:]+")


class StartFailed(Exception):
    """A process of the benchmark did not start; the message has the end of its log."""


@dataclass(frozen=True)
class Running:
    """A started process. `url` is empty for one that does not listen."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """As `kill -9` does, and wait until it is gone."""
        self.process.kill()
        await self.process.wait()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def started(
    command: Sequence[str], log: Path, environment: Mapping[str, str], ready: re.Pattern[bytes] = _URL
) -> AsyncIterator[Running]:
    """Run a command from the repository's root until the context ends; entered when its output has `ready`.

    Raises StartFailed. The environment is what is given, PATH and HOME (the log's folder): no setting leaks in.
    """
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *_WITH_US,
            str(os.getpid()),
            "--",
            *command,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(log.parent), **environment},
            start_new_session=True,
        )
    rest: asyncio.Task[None] | None = None
    try:
        found = await _said(process, ready, log)
        rest = asyncio.create_task(_passed_on(process, log))
        yield Running(process, found.decode() if found.startswith(b"http") else "", log)
    finally:
        await _stop(process)
        if rest is not None:
            await rest


async def _said(process: asyncio.subprocess.Process, ready: re.Pattern[bytes], log: Path) -> bytes:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := await process.stdout.readline():
                if match := ready.search(line):
                    return match[0]
    except TimeoutError:
        pass
    raise StartFailed(f"it did not start; {log.name} ends with: {_tail(log)}")


async def _passed_on(process: asyncio.subprocess.Process, log: Path) -> None:
    """What it says later goes to its log: a pipe that nobody reads fills up, and whoever writes to it stands still."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        with log.open("ab") as said:
            said.write(line)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def scripted_model(folder: Path, *options: str) -> AsyncIterator[Running]:
    """The fake model in a process of its own."""
    command = (sys.executable, "-m", "fake_model", "--port", "0", *options)
    async with started(command, folder / "model.log", {}) as running:
        yield running


@asynccontextmanager
async def serving(
    model_url: str, data_dir: Path, perdure: Sequence[str] = PERDURE, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """`perdure serve`: API, worker and embedded Temporal in one process tree."""
    command = (*perdure, "serve", "--port", "0", "--data-dir", str(data_dir))
    async with started(command, data_dir / "serve.log", key_of(model_url) | dict(settings or {})) as running:
        yield running


def key_of(model_url: str) -> dict[str, str]:
    """Settings that point a role at the scripted model."""
    return {"ANTHROPIC_API_KEY": "bench", "ANTHROPIC_BASE_URL": model_url}


def cpu_seconds(pid: int) -> dict[str, float]:
    """User and system time of a process tree so far, by part: `perdure`, `temporal`, `tools` (ended ones included)."""
    spent: defaultdict[str, float] = defaultdict(float)
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        spent[_part(process, pid)] += times.user + times.system
        spent["tools"] += times.children_user + times.children_system
    return spent


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return int(psutil.Process(pid).memory_info().rss)


def _part(process: psutil.Process, root: int) -> str:
    if process.pid == root:
        return "perdure"
    return "temporal" if "start-dev" in process.cmdline() else "tools"
