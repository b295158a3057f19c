"""The Temporal server that Perdure brings along: one per data dir, restarted when it dies, gone when its parent is.

    data dir/temporal.db     its SQLite file          data dir/temporal.json   where it answers, for other processes
    data dir/temporal.log    what it says             data dir/temporal.lock   held while a process of ours runs it

A server that dies is started again at once, on the same ports with the same data, so clients only reconnect. If the
parent is killed, Linux sends the server SIGTERM (cli/with_parent.py); what is left elsewhere is ended by the next
start. What was committed survives the death of any process; `synchronous=normal` may lose the last moments when the
power is cut.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from cli import whereabouts
from cli.start_dev import HOST, SERVER_FLAGS, TemporalMissing, free_ports, is_free, start_command, temporal_binary
from cli.whereabouts import DataDirTaken, EmbeddedAddress, EmbeddedError

__all__ = [
    "DataDirTaken",
    "EmbeddedAddress",
    "EmbeddedError",
    "EmbeddedTemporal",
    "TemporalMissing",
    "find_embedded",
    "temporal_binary",
]

logger = logging.getLogger("perdure.temporal")

NAMESPACE: Final = "default"
READY_SECONDS = 20.0
ANSWER_SECONDS = 2.0
STOP_SECONDS = 10.0
QUICK_DEATH_SECONDS = 5.0
"""A server that lived for less has a pause before its next start but one, doubled up to `LONGEST_PAUSE`."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 1.0
POLL_SECONDS = 0.02


class _PortTaken(EmbeddedError):
    """Somebody else took a port between our look at it and the server's start."""


async def find_embedded(data_dir: Path) -> EmbeddedAddress | None:
    """The embedded Temporal that runs on this data dir and answers now; None when there is none."""
    told = whereabouts.told(data_dir)
    if told is None or not whereabouts.is_ours(told.pid, data_dir):
        return None
    return told if await _answers(told.address) else None


class EmbeddedTemporal:
    """Runs the server while the context lasts. Enter it on the main thread: Linux ends the server with the *thread*.

    `search_attributes` (name to type) are registered by the server at its start. Entering raises EmbeddedError: no
    program, the data dir in use by another process (DataDirTaken), or no answer within `READY_SECONDS`.
    """

    namespace: Final = NAMESPACE

    def __init__(
        self,
        data_dir: Path,
        search_attributes: Mapping[str, str] | None = None,
        *,
        flags: tuple[str, ...] = SERVER_FLAGS,
    ) -> None:
        self._dir = data_dir
        self._attributes = dict(search_attributes or {})
        self._flags = flags
        self._ports = (0, 0)
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._lock: int | None = None

    @property
    def address(self) -> str:
        """`host:port` of the gRPC service; the same for as long as the context lasts."""
        return f"{HOST}:{self._ports[0]}"

    @property
    def ui_url(self) -> str:
        return f"http://{HOST}:{self._ports[1]}"

    @property
    def pid(self) -> int:
        """Of the server that runs now; another one after a restart."""
        return self._running.pid

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not entered"
        return self._process

    async def __aenter__(self) -> Self:
        binary = temporal_binary()
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = whereabouts.lock(self._dir)
        try:
            await _end_leftover(self._dir)
            _set_log_aside(self._dir)
            await self._first_start(binary)
        except BaseException:
            await self._end()
            raise
        self._keeping = asyncio.create_task(self._keep(binary), name="embedded-temporal")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._end()

    async def _first_start(self, binary: Path) -> None:
        """Start it on the usual ports or on free ones, and on others if somebody was faster."""
        for attempts_left in (2, 1, 0):
            self._ports = free_ports(usual=attempts_left == 2)
            await self._start(binary)
            try:
                await self._ready()
            except _PortTaken:
                if not attempts_left:
                    raise
            else:
                return

    async def _start(self, binary: Path) -> None:
        launcher = Path(__file__).with_name("with_parent.py")
        log = os.open(_log(self._dir), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(launcher), str(os.getpid()), "--"),
                *start_command(
                    binary, whereabouts.database_file(self._dir), self._ports, self._flags, self._attributes
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Not our environment: no key may reach it, and TEMPORAL_* or a profile at home would steer it.
                env={"PATH": os.defpath, "HOME": str(self._dir)},
                # A terminal's Ctrl-C is for us; the server ends last.
                start_new_session=True,
            )
        finally:
            os.close(log)
        whereabouts.tell(self._dir, EmbeddedAddress(self.address, self.ui_url, self.pid))

    async def _ready(self) -> None:
        """Wait until the server has the port (its own log says so: another's server may answer there) and answers."""
        announced = f"Temporal Server:      localhost:{self._ports[0]}"
        try:
            async with asyncio.timeout(READY_SECONDS):
                while announced not in _said(self._dir):
                    if self._running.returncode is not None:
                        raise self._why_it_ended()
                    await asyncio.sleep(POLL_SECONDS)
                while not await _answers(self.address):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise EmbeddedError(
                f"The Temporal server gave no answer in {READY_SECONDS:.0f} s: {_tail(self._dir)}"
            ) from None

    def _why_it_ended(self) -> EmbeddedError:
        kind = EmbeddedError if all(map(is_free, self._ports)) else _PortTaken
        return kind(f"The Temporal server ended at its start: {_tail(self._dir)}")

    async def _keep(self, binary: Path) -> None:
        """Start the server again whenever it ends; only `_end` ends this."""
        pause = 0.0
        while True:
            began = time.monotonic()
            code = await self._running.wait()
            if time.monotonic() - began > QUICK_DEATH_SECONDS:
                pause = 0.0
            logger.warning("The Temporal server ended (%s) and is started again; see %s", code, _log(self._dir))
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
            try:
                await self._start(binary)
            except OSError as error:
                logger.error("The Temporal server could not be started again: %s", error)

    async def _end(self) -> None:
        try:
            if self._keeping is not None:
                self._keeping.cancel()
                await asyncio.wait([self._keeping])
            if self._process is not None and self._process.returncode is None:
                await _ended(self._process)
        finally:
            if self._lock is not None:
                whereabouts.forget(self._dir)
                os.close(self._lock)
                self._lock = None


async def _answers(address: str) -> bool:
    request = DescribeNamespaceRequest(namespace=NAMESPACE)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            client = await Client.connect(address)
            await client.workflow_service.describe_namespace(request, timeout=timedelta(seconds=ANSWER_SECONDS))
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return True


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, and make it when it does not, or when there is no time left to wait."""
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise


async def _end_leftover(data_dir: Path) -> None:
    """End a server whose parent was killed before it could: two on one file would spoil it."""
    told = whereabouts.told(data_dir)
    if told is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        give_up = time.monotonic() + STOP_SECONDS
        if whereabouts.is_ours(told.pid, data_dir):
            os.kill(told.pid, number)
        while whereabouts.is_ours(told.pid, data_dir) and time.monotonic() < give_up:
            await asyncio.sleep(POLL_SECONDS)


def _log(data_dir: Path) -> Path:
    return data_dir / "temporal.log"


def _set_log_aside(data_dir: Path) -> None:
    """The last run's log is kept as `temporal.log.1`, so that this one starts empty and neither grows for ever."""
    if _log(data_dir).exists():
        _log(data_dir).replace(_log(data_dir).with_suffix(".log.1"))


def _said(data_dir: Path) -> str:
    return _log(data_dir).read_text(errors="replace")


def _tail(data_dir: Path) -> str:
    return " | ".join(_said(data_dir).strip().splitlines()[-5:])[-1000:] or "it said nothing"
