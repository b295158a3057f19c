"""What a seed of `make chaos` came to, checked from outside when everything is back (DESIGN §1)."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis
from temporalio.client import Client, WorkflowExecutionStatus

from tests.survival import drawn_verdict as rows
from tests.survival.chaos_load import Visit
from tests.survival.cluster import Cluster
from tests.survival.deltas import heard
from tests.survival.drawn_verdict import Tally, check
from tests.survival.faults import Faults
from tests.survival.promises import Verdict, check_view, processes_with
from tests.survival.reader import Reader, get

LOST: Final = "sessions lost (no end seen)"
TWICE: Final = "requests with one key that started two sessions"
MIXED: Final = "texts whose fragments are of two attempts"
INVALID: Final = "transcripts that are not valid"
HISTORY: Final = "histories that grow too fast"
BUSY: Final = "conversations still busy"
WORKFLOWS: Final = "workflows still running"
PENDING: Final = "approvals still pending"
LEFT_OF_PARTS: Final = "parts left over when all was over"
KEYS: Final = "bus keys that never expire"
STOPPING: Final = "cancels that took longer than 2 s, no fault about"
BACK: Final = "parts that did not come back"
ROWS: Final = (
    *(LOST, rows.TERMINAL, TWICE, rows.LATE, rows.RESULTS, rows.RAN, rows.TRACES, MIXED, rows.REFUSED, INVALID),
    *(
        HISTORY,
        STOPPING,
        rows.RESOLVED,
        rows.UNTRUE,
        rows.AUDIT,
        rows.LEFT,
        BUSY,
        WORKFLOWS,
        PENDING,
        KEYS,
        BACK,
        LEFT_OF_PARTS,
    ),
    rows.PROMISES,
)
AT_ONCE: Final = 6
STOP_SECONDS: Final = 2.0
CALM_SECONDS: Final = 8.0
"""After a fault: a heartbeat timeout and another attempt."""
KB_PER_STEP: Final = 10.0
SETTLE_SECONDS: Final = 15
NEVER: Final = -1
"""What Valkey calls the time until a key expires when it does not."""


@dataclass
class Outcome:
    """One seed's, or of several added up."""

    tally: Tally = field(default_factory=Tally)
    verdict: Verdict = field(default_factory=Verdict)
    faults: Counter[str] = field(default_factory=Counter)
    started: int = 0
    deltas: int = 0
    gaps: int = 0
    keys: int = 0
    connections: int = 0
    unavailable: int = 0
    again: int = 0
    ended_alone: list[str] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    """From an accepted cancel to the terminal event, where no fault was about."""
    kb_per_step: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    """Last lines of tracebacks in the parts' logs."""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.tally.wrong


class Check:
    def __init__(self, parts: Cluster, faults: Faults, mark: str) -> None:
        self._parts = parts
        self._faults = faults
        self._mark = mark
        self.outcome = Outcome()

    async def all(self, visits: Sequence[Visit]) -> Outcome:
        """Check every session, then what is left behind."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(visit: Visit) -> None:
            async with turn:
                await self._visit(visit)

        self.outcome.started = len(visits)
        await asyncio.gather(*map(one, visits))
        await self._left(visits)
        await self._keys()
        await self._histories()
        self._logs()
        return self.outcome

    async def _visit(self, visit: Visit) -> None:
        tally, who = self.outcome.tally, f"{visit.session_id} (number {visit.drawn.number})"
        self.outcome.again += len(visit.same_again)
        others = set(visit.same_again) - {visit.session_id}
        tally.expect(TWICE, not others, f"{who}: also {others}")
        tally.expect(LOST, not visit.lost, f"{who}: {visit.lost}, is {await self._state(visit)}")
        if visit.played is None or visit.watcher is None:
            return
        verdict = await check(self._parts, visit.played, tally, self._faults.excused)
        afterwards = Reader(self._parts.http, self._parts.url, visit.session_id)
        await afterwards.run()
        watched = Verdict()
        check_view(watched, visit.watcher, afterwards)
        for sentence in watched.broken:
            tally.expect(rows.PROMISES, False, f"{who}, watching: {sentence}")
        verdict.add(watched)
        self.outcome.verdict.add(verdict)
        for reader in (visit.played.reader, visit.watcher):
            self._reader(who, reader)
        self._times(who, visit)
        await self._transcript(who, visit)

    async def _state(self, visit: Visit) -> str:
        if not visit.lost or not visit.session_id:
            return "unknown"
        session = (await get(self._parts.http, f"{self._parts.url}/api/sessions/{visit.session_id}"))["session"]
        return f"{session['status']}, {session['stopReason']}"

    def _reader(self, who: str, reader: Reader) -> None:
        self.outcome.connections += reader.connections
        self.outcome.unavailable += reader.unavailable
        self.outcome.deltas += len(reader.deltas)
        found = heard(reader)
        for key in found.wrong:
            mixed = not is_part(found.fragments[key], found.texts[key])
            self.outcome.gaps += not mixed
            self.outcome.tally.expect(MIXED, not mixed, f"{who}: {key} heard {found.fragments[key]!r}")
        self.outcome.tally.expect(MIXED, not found.late, f"{who}: fragments after their fact: {found.late[:3]}")

    def _times(self, who: str, visit: Visit) -> None:
        assert visit.played is not None
        times = [one.event["timestamp"] / 1000 for one in visit.played.reader.facts]
        self.outcome.lasted.append(times[-1] - times[0])
        at = visit.played.cancelled_at
        if at is None or not self._faults.is_quiet(at - CALM_SECONDS, times[-1]):
            return
        self.outcome.stops.append(max(0.0, times[-1] - at))
        graceful = visit.drawn.cancel is not None and visit.drawn.cancel[0] == "graceful"
        good = graceful or self.outcome.stops[-1] <= STOP_SECONDS
        self.outcome.tally.expect(STOPPING, good, f"{who}: {self.outcome.stops[-1]:.1f} s")

    async def _transcript(self, who: str, visit: Visit) -> None:
        told = await get(self._parts.http, f"{self._parts.url}/api/sessions/{visit.session_id}/transcript")
        for step in told["steps"]:
            problem = _transcript_problem(step)
            self.outcome.tally.expect(INVALID, not problem, f"{who}: step {step['step']}: {problem}")

    async def _left(self, visits: Sequence[Visit]) -> None:
        tally, http, url = self.outcome.tally, self._parts.http, self._parts.url
        left = processes_with(self._mark)
        tally.expect(rows.LEFT, not left, f"{len(left)} processes")
        pending = (await get(http, f"{url}/api/approvals?status=pending"))["approvals"]
        tally.expect(PENDING, not pending, f"{pending[:2]}")
        cursor, there = "", 0
        while True:
            page = await get(http, f"{url}/api/sessions?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            for session in page["sessions"]:
                there += 1
                over = session["status"] in ("completed", "failed", "cancelled")
                tally.expect(BUSY, over, f"{session['id']} is {session['status']}")
            if not (cursor := page["nextCursor"]):
                break
        accepted = sum(bool(visit.session_id) for visit in visits)
        unsure = sum(not visit.session_id for visit in visits)
        tally.expect(TWICE, accepted <= there <= accepted + unsure, f"{there} sessions for {accepted} requests")
        asked = (await http.get(f"{self._parts.fake_url}/_fake/requests")).json()
        for request in asked:
            tally.expect(rows.REFUSED, request["outcome"] != "refused", str(request["error"]))

    async def _keys(self) -> None:
        """What is left on the bus goes by itself."""
        bus = Redis.from_url(f"redis://{self._parts.address_of('valkey')}/0", decode_responses=True)
        try:
            async for key in bus.scan_iter(count=1000):
                self.outcome.keys += 1
                self.outcome.tally.expect(KEYS, await bus.ttl(key) != NEVER, key)
        finally:
            await bus.aclose()

    async def _histories(self) -> None:
        """What Temporal knows: nothing runs, and the histories stay small."""
        client = await Client.connect(self._parts.temporal_address)
        give_up = time.monotonic() + SETTLE_SECONDS
        while running := [one.id async for one in client.list_workflows("ExecutionStatus='Running'")]:
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(0.5)
        self.outcome.tally.expect(WORKFLOWS, not running, f"{running[:3]}")
        async for one in client.list_workflows():
            status = one.status or WorkflowExecutionStatus.RUNNING
            self.outcome.statuses[status.name.lower()] += 1
            about: Any = (await client.get_workflow_handle(one.id).describe()).raw_description
            size = about.workflow_execution_info.history_size_bytes / 1024
            steps = await self._steps(one.id)
            self.outcome.kb_per_step.append(size / (steps + 1))
            good = self.outcome.kb_per_step[-1] <= KB_PER_STEP
            self.outcome.tally.expect(HISTORY, good, f"{one.id}: {size:.0f} KB for {steps} steps")

    async def _steps(self, session_id: str) -> int:
        told = await get(self._parts.http, f"{self._parts.url}/api/sessions/{session_id}")
        return int(told["session"]["step"])

    def _logs(self) -> None:
        for part in self._parts.parts.values():
            if part.name in (*self._parts.apis, *self._parts.workers):
                lines = re.findall(
                    r"^(?:\w+\.)*(\w*(?:Error|Exception|NonDeterminism)\w*): .*$", part.said(), re.MULTILINE
                )
                self.outcome.said.update(lines)


def is_part(fragments: str, text: str) -> bool:
    """Whether the fragments are the text with some left out."""
    rest = iter(text)
    return all(letter in rest for letter in fragments)


def _transcript_problem(step: dict[str, Any]) -> str:
    """Every tool_use is answered by one tool_result, every thinking block has its signature; empty when it is good."""
    blocks = [block for message in step["messages"] for block in message["content"] if isinstance(block, dict)]
    used = Counter(block["id"] for block in blocks if block["type"] == "tool_use")
    answered = Counter(block["tool_use_id"] for block in blocks if block["type"] == "tool_result")
    if used != answered or any(count > 1 for count in used.values()):
        return f"{dict(used)} answered by {dict(answered)}"
    bare = [block for block in blocks if block["type"] == "thinking" and not block.get("signature")]
    return "thinking without a signature" if bare and not step["partial"] else ""


def median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else "-"


def worst(values: Sequence[float]) -> str:
    return f"{max(values):.1f}" if values else "-"
