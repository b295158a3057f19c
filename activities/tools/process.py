"""Running a command with its whole process tree under a warden (see `warden.py`), from the worker's side.

    worker ◀── gate ──▶ warden ── fork ──▶ command ──▶ whatever it starts
       ▲                                      │
       └────────── stdout, stderr ────────────┘

The gate is opened only when the worker holds everything it needs to end the call, and closing it is the
one way to end it: at the command's exit, on cancel, on a time limit, and by the worker's death. Through it the warden
says which limit the command was killed for.
"""

import asyncio
import codecs
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from activities.tools.spec import Stream, ToolError
from activities.tools.text import clean
from session.policy import Limits

WARDEN = Path(__file__).with_name("warden.py")
MARK = "PERDURE_CALL"
"""Variable in every command's environment, by which its processes are found if the warden was killed."""
PATIENCE = 21.0
"""Seconds for the warden to clear up: a little more than it allows itself. Usually it needs milliseconds."""
GLANCE = 1.0
"""Seconds between looks at whether the warden still watches."""
DRAIN = 0.5
"""Seconds to wait for the pipes' end once the tree is dead."""

Hear = Callable[[Stream, str], None]


async def run_tree(
    program: Sequence[str], folder: int, environment: Mapping[str, str], hear: Hear, limits: Limits
) -> int:
    """Run `program` in `folder` (a descriptor) and give its exit code; `hear` gets its output as it comes.

    However this ends (also by cancellation), the command and all that it started are dead and reaped by
    then. Raises `ToolError` when it passed one of the `limits` (of its whole tree), or killed or stopped its warden.
    """
    mark = secrets.token_hex(8)
    with ExitStack() as held:
        gate, opener = (held.enter_context(end) for end in socket.socketpair())
        taps = [await _tapped("stdout", hear, held), await _tapped("stderr", hear, held)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(WARDEN), str(gate.fileno()), str(folder)),
            *(_listed(limits), *program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=taps[0].inlet,
            stderr=taps[1].inlet,
            env={**environment, MARK: mark},
            pass_fds=(gate.fileno(), folder),
            start_new_session=True,  # the terminal's Ctrl-C is the worker's to interpret
        )
        try:
            for handed_on in (gate, taps[0].inlet, taps[1].inlet):
                handed_on.close()
            with suppress(BrokenPipeError):
                opener.send(b"g")
            code = await _waited(process)
            passed = _word(opener)
        finally:
            opener.close()
            await surely(_ended(process, mark, taps))
    raise_for(code, passed, limits)
    return code


def raise_for(code: int, passed: str, limits: Limits) -> None:
    """Raise `ToolError` for the limit that the command was ended for, by its warden or (`code`) by the kernel."""
    if code < 0:
        raise ToolError("SUPERVISOR_KILLED", f"the command killed its own supervisor (signal {-code}) and was ended")
    whole = "The command was killed, with all that it had started:"
    if passed == "memory":
        raise ToolError("MEMORY_LIMIT", f"{whole} it took more than {limits.memory >> 20:,} MiB of memory.")
    if passed == "processes":
        told = f"it had more than {limits.processes:,} processes (or 8 times as many threads) at once."
        raise ToolError("PROCESS_LIMIT", f"{whole} {told}")
    if passed == "cpu" or code == 128 + signal.SIGXCPU:
        raise ToolError("CPU_LIMIT", f"{whole} it used more than {limits.cpu_seconds:,} s of CPU time.")
    if code == 128 + signal.SIGXFSZ:
        told = f"it wrote a file larger than {limits.file_size >> 20:,} MiB, which is the limit."
        raise ToolError("FILE_SIZE_LIMIT", f"The command was killed: {told}")


def _listed(limits: Limits) -> str:
    return f"{limits.cpu_seconds},{limits.memory},{limits.processes},{limits.file_size}"


async def _waited(process: asyncio.subprocess.Process) -> int:
    """The warden's exit code. One that was stopped watches nothing any more: it is killed."""
    ended = asyncio.ensure_future(process.wait())
    try:
        while not (await asyncio.wait({ended}, timeout=GLANCE))[0]:
            if _stopped(process.pid):
                with suppress(ProcessLookupError):
                    process.kill()
        return ended.result()
    finally:
        ended.cancel()


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _word(opener: socket.socket) -> str:
    opener.setblocking(False)
    try:
        return opener.recv(64).decode()
    except OSError:  # nothing was said
        return ""


async def surely(work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` whatever is cancelled meanwhile, then let the cancellation through. `work` must be
    bounded."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


class _Tap(asyncio.Protocol):
    """An output pipe of the command: `inlet` is handed on, and what is written to it arrives at `hear`."""

    def __init__(self, stream: Stream, hear: Hear, inlet: FileIO) -> None:
        self.inlet = inlet
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream: Stream = stream
        self._hear = hear
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._say(self._decoder.decode(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._say(self._decoder.decode(b"", final=True))
        if not self.closed.done():
            self.closed.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _say(self, text: str) -> None:
        if text:
            self._hear(self._stream, clean(text))


def _pipe(held: ExitStack) -> tuple[FileIO, FileIO]:
    outlet, inlet = os.pipe()
    return held.enter_context(FileIO(outlet, "r")), held.enter_context(FileIO(inlet, "w"))


async def _tapped(stream: Stream, hear: Hear, held: ExitStack) -> _Tap:
    outlet, inlet = _pipe(held)
    tap = _Tap(stream, hear, inlet)
    await asyncio.get_running_loop().connect_read_pipe(lambda: tap, outlet)
    held.callback(tap.close)
    return tap


async def _ended(process: asyncio.subprocess.Process, mark: str, taps: list[_Tap]) -> None:
    """Wait until the warden has cleared up (its gate is closed) and every byte of output was heard."""
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode is not None and process.returncode < 0:
        await asyncio.to_thread(_sweep, mark)
    closed = [tap.closed for tap in taps]
    await asyncio.wait(closed, timeout=DRAIN)
    for tap in taps:
        tap.close()
    await asyncio.wait(closed)


def _sweep(mark: str) -> None:
    """Kill by their environment the processes of a call that has lost its warden (Linux)."""
    sought = f"{MARK}={mark}".encode()
    for _ in range(5):  # what forked while we looked is found the next time
        found = [pid for pid in _pids() if sought in _environment(pid)]
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
