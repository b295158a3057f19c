"""One process of a topology, to be killed, stopped and started again by pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
WITH_PARENT = ROOT / "cli" / "with_parent.py"


@dataclass
class Part:
    """One process: its command, its log, and the pid that runs now.

    `user`: whom it runs as, None for whoever we are. `has_children`: it is a server of many processes, which are
    killed and stopped with it. `answers`: how to see that it is ready, where its name does not say so.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    user: str | None = None
    has_children: bool = False
    answers: Callable[[], Awaitable[bool]] | None = None
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    _unread: int = 0

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._unread = log.tell()
            self.process = subprocess.Popen(
                [*self._launcher(), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                cwd=ROOT,
                start_new_session=True,
            )
        self.starts += 1

    def _launcher(self) -> list[str]:
        """What makes it end with us. Another user may not be able to enter the folder of this Python."""
        if self.user is None:
            return [sys.executable, "-I", "-S", str(WITH_PARENT), str(os.getpid()), "--"]
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--pdeathsig=INT", "--"]

    def signal(self, number: signal.Signals) -> None:
        """To this process, and to those of its children that a server of many processes consists of."""
        for child in self._children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        os.kill(self.pid, number)

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True) if self.has_children else []
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL by pid, and reap."""
        if self.is_running:
            self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    async def ended(self, seconds: float) -> int:
        """The exit code, once it has ended by itself. Raises TimeoutError."""
        assert self.process is not None, f"{self.name} was never started"
        async with asyncio.timeout(seconds):
            while self.process.poll() is None:
                await asyncio.sleep(0.01)
        return int(self.process.returncode)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def said_since_start(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._unread)
            return log.read().decode(errors="replace")
