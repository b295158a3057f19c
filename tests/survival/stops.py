"""Stopping, timed from outside: cancel and timeout, while the model speaks and while a command runs (G5)."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from tests.survival.promises import Verdict, check_promises, processes_with
from tests.survival.reader import Reader, start
from tests.survival.scripts import task
from tests.survival.topology import Topology

BOUND_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 2
KINDS: Final = ("cancel while the model speaks", "cancel while a command runs", "timeout, speaking", "timeout, running")


@dataclass
class Stopping:
    """Times of one kind of stop, in seconds from the request (or the deadline), one for each run."""

    kind: str
    to_terminal: list[float] = field(default_factory=list)
    to_stream_closed: list[float] = field(default_factory=list)
    to_last_child_gone: list[float] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def worst(self) -> float:
        return max(self.to_terminal + self.to_stream_closed + self.to_last_child_gone)


async def measure(topology: Topology, kind: str, runs: int, *, together: int = 1) -> Stopping:
    """Stop so many sessions, `together` at a time, each with promises checked at its end."""
    found = Stopping(kind)
    for _ in range(0, runs, together):
        async with asyncio.timeout(30):
            await asyncio.gather(*(_stop_one(topology, found) for _ in range(together)))
    return found


async def _stop_one(topology: Topology, found: Stopping) -> None:
    by_cancel, speaking = "cancel" in found.kind, "speak" in found.kind
    seconds = f"300.{random.randrange(10**8):08d}"
    body: dict[str, Any] = {"content": _speech() if speaking else _sleep(seconds)}
    if not by_cancel:
        body["timeoutSeconds"] = TIMEOUT_SECONDS
    session = await start(topology.http, topology.url, body, f"stop-{seconds}")
    reader = Reader(topology.http, topology.url, session["id"])
    reading = asyncio.create_task(reader.run())
    await (_is_speaking(topology, session["id"]) if speaking else _is_sleeping(seconds))
    if by_cancel:
        stopped = time.time()
        answer = await topology.http.post(f"{topology.url}/api/sessions/{session['id']}/cancel")
        assert answer.status_code == 202, answer.text
    else:
        stopped = datetime.fromisoformat(session["deadline"]).timestamp()
    if not speaking:
        found.to_last_child_gone.append(await _last_child_gone(seconds) - stopped)
    await reading
    found.to_terminal.append(reader.facts[-1].at - stopped)
    if speaking:
        found.to_stream_closed.append(await _stream_closed(topology, session["id"]) - stopped)
    verdict = await check_promises(topology, reader)
    wanted = "cancelled" if by_cancel else "timeout"
    verdict.expect(verdict.ended[wanted] == 1, f"it ended as {list(verdict.ended)}, not as {wanted}")
    found.verdict.add(verdict)


def _speech() -> str:
    return task([{"thinking": "Let me see. " * 10, "text_tokens": 3000, "token_ms": 10}])


def _sleep(seconds: str) -> str:
    """Two children of a shell: neither may stay."""
    command = f"sleep {seconds} & sleep {seconds}"
    return task([{"text": "I wait.", "tools": [{"name": "exec", "input": {"command": command, "timeout": 120}}]}])


async def _is_speaking(topology: Topology, session_id: str) -> None:
    while not [one for one in await topology.bought(session_id) if one["outcome"] is None]:
        await asyncio.sleep(0.01)
    await asyncio.sleep(random.uniform(0.1, 0.6))


async def _is_sleeping(seconds: str) -> None:
    while len(processes_with(f"sleep\0{seconds}")) < 2:
        await asyncio.sleep(0.01)


async def _last_child_gone(seconds: str) -> float:
    while processes_with(seconds):
        await asyncio.sleep(0.01)
    return time.time()


async def _stream_closed(topology: Topology, session_id: str) -> float:
    """When the fake model saw its client go; it must have gone before the reply was whole."""
    while True:
        last = (await topology.bought(session_id))[-1]
        if last["closed_at"] is not None:
            assert last["outcome"] == "aborted", last
            return float(last["closed_at"])
        await asyncio.sleep(0.01)
