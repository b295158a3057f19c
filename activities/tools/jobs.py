"""Jobs: commands that run on after the call that started them (`exec` with `background`), until their session ends.

A job is known by its handle to the worker that runs it, and to the session that started it. It ends by itself, by
`exec_kill`, at its own time limit, at its session's deadline, or with the session or the worker, also when that is
killed: its warden sees to it. A session may be closed elsewhere (by another worker, or by the server when its workflow
was terminated): `activities.sweeping` looks for that. A worker that starts anew knows no jobs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Sequence

from activities.tools.command import CommandEnd, Sandbox, run_command
from activities.tools.process import surely
from activities.tools.spec import Stream, ToolContext, ToolError
from activities.tools.spool import Spool

RUNNING_AT_ONCE = 8
"""Jobs of one session that run at the same time."""
KEPT = 32
"""Jobs of one session whose output can still be read; of those that ended, the oldest goes first."""
LONGEST = 3_600.0
"""Seconds a job may run where its session has no deadline."""


class Job:
    """A command that runs on, and what it has written so far."""

    def __init__(self, handle: str, sandbox: Sandbox) -> None:
        self.handle = handle
        self.sandbox = sandbox
        self.output = Spool()
        self.end: CommandEnd | ToolError | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self, context: ToolContext, program: Sequence[str], folder: int, seconds: float) -> None:
        """The folder is the job's own from here on: it is closed at its end."""
        run = self._run(context, program, folder, seconds)
        self._task = asyncio.create_task(run, name=self.handle)
        self._task.add_done_callback(lambda _: os.close(folder))  # also when it never began

    async def wait(self, seconds: float) -> None:
        """Until it has ended, at most so long."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)

    async def kill(self) -> None:
        """End it, with all it started. When this returns, also by cancellation, it is dead."""
        if self._task is not None:
            self._task.cancel()
            await surely(self._ended(self._task))
        if self.end is None:  # it had not begun
            self.end = ToolError("KILLED", "the job was killed before it began")

    async def _ended(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait({task})

    async def _run(self, context: ToolContext, program: Sequence[str], folder: int, seconds: float) -> None:
        try:
            self.end = await run_command(context, program, folder, timeout=seconds, hear=self._hear)
        except ToolError as error:
            self.end = error
        except OSError as error:
            self.end = ToolError("IO_ERROR", f"the job failed: {error.strerror or error}")
        except asyncio.CancelledError:
            self.end = ToolError("KILLED", "the job was killed, with all that it had started")
            raise

    def _hear(self, _stream: Stream, text: str) -> None:
        self.output.add(text)


class Jobs:
    """The jobs of a worker's sessions."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Job]] = {}

    def start(
        self, context: ToolContext, sandbox: Sandbox, program: Sequence[str], folder: int, seconds: float | None
    ) -> Job:
        """Start a job in the open folder `folder`, for at most `seconds` and never beyond the session's deadline.

        Raises ToolError TOO_MANY_JOBS.
        """
        jobs = self._of.setdefault(context.session_id, {})
        if sum(job.running for job in jobs.values()) >= RUNNING_AT_ONCE:
            told = f"{RUNNING_AT_ONCE} jobs of this session run already; end one with exec_kill first"
            raise ToolError("TOO_MANY_JOBS", f"{told} ({', '.join(h for h, job in jobs.items() if job.running)})")
        for handle in [handle for handle, job in jobs.items() if not job.running][: max(0, len(jobs) - KEPT + 1)]:
            jobs.pop(handle).output.close()
        left = context.deadline_ms / 1000 - time.time() if context.deadline_ms else LONGEST
        job = Job(f"job_{secrets.token_hex(6)}", sandbox)
        jobs[job.handle] = job
        job.start(context, program, os.dup(folder), max(0.0, min(seconds or LONGEST, left)))
        return job

    def job(self, session_id: str, handle: str) -> Job:
        """Raises ToolError JOB_LOST for one that this worker does not know in this session."""
        found = self._of.get(session_id, {}).get(handle)
        if found is None:
            told = "no job of this session that this worker knows: it ended with its worker, or another worker holds it"
            raise ToolError("JOB_LOST", f"{handle} is {told}. Look for what it did before you start it again.")
        return found

    def sessions(self) -> list[str]:
        """Sessions whose jobs, running or ended, are kept here."""
        return [*self._of]

    async def end_session(self, session_id: str) -> None:
        """Kill all of a session's jobs and forget their output. Safe to call again, and for a session without jobs."""
        await self._end(self._of.pop(session_id, {}))

    async def close(self) -> None:
        """Kill every job: for the worker's end."""
        while self._of:
            await self._end(self._of.popitem()[1])

    async def _end(self, jobs: dict[str, Job]) -> None:
        await asyncio.gather(*(job.kill() for job in jobs.values()))
        for job in jobs.values():
            job.output.close()
