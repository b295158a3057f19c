"""A rolling deploy under a steady load of sessions, and what it cost them.

versioned      workers of v1 run; v2, whose workflow is changed, comes up beside them; `perdure promote v2 --wait`;
               the APIs are replaced one after the other; v1's workers are told to go when v1 is drained
compatible     workers have no version; one after the other is told to go and another one takes its place, whose
               workflow has the same commands; the APIs as above
incompatible   the same with the changed workflow: what versions are there to prevent. Its sessions must end, too
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowHandle

from tests.survival.promises import Verdict, check_promises, processes_with
from tests.survival.reader import Reader, start
from tests.survival.scripts import busy_session
from tests.survival.topology import Topology, add, split
from tests.workflows.changed import WEIGH_STEP

How = Literal["versioned", "compatible", "incompatible"]
NEXT: Final[dict[str, dict[str, str]]] = {
    "versioned": {"NEXT_VERSION": "changed", "PERDURE_BUILD_ID": "v2"},
    "compatible": {"NEXT_VERSION": "compatible"},
    "incompatible": {"NEXT_VERSION": "changed"},
}
STOPS_IN_SECONDS: Final = 40.0
LIMIT_SECONDS: Final = 180 + 15
NON_DETERMINISM: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR


class Traveller(Reader):
    """A reader that comes back to the other API, as it would through a balancer that knows which one goes."""

    urls: tuple[str, ...] = ()

    async def _once(self) -> bool:
        self.url = self.urls[self.connections % len(self.urls)]
        return await super()._once()


@dataclass
class Report:
    """What a deploy came to. `versions`: sessions by the version that ran them. `tasks_failed`: by cause."""

    how: How
    verdict: Verdict = field(default_factory=Verdict)
    started: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    weighed: Counter[str] = field(default_factory=Counter)
    tasks_failed: Counter[str] = field(default_factory=Counter)
    said_non_determinism: int = 0
    cancelled: int = 0
    refused: int = 0
    connections: int = 0
    longest: float = 0.0
    exits: list[int] = field(default_factory=list)
    seconds: float = 0.0
    left_over: int = 0
    promoted: str = ""

    @property
    def non_determinism(self) -> int:
        return self.tasks_failed[WorkflowTaskFailedCause.Name(NON_DETERMINISM)]

    @property
    def failed(self) -> int:
        ended = self.verdict.ended
        return sum(ended[reason] for reason in ("timeout", "providerError", "internalError"))


class Rolling:
    """One deploy under load. `limit`: the sessions' own, in seconds."""

    def __init__(self, topology: Topology, how: How, every: float, limit: int) -> None:
        self._topology = topology
        self._every = every
        self._limit = limit
        self._mark = str(time.time_ns())[-11:]
        self._sessions: list[tuple[Traveller, float, asyncio.Task[None]]] = []
        self._urls = (topology.url, topology.url_of("api2"))
        self.report = Report(how)

    async def load(self) -> None:
        """Start a session every so often, at one API and the other, until cancelled."""
        for number in itertools.count():
            asyncio.create_task(self._begin(number))  # noqa: RUF006 (kept by `_sessions` from its first await on)
            await asyncio.sleep(self._every)

    async def _begin(self, number: int) -> None:
        body = {"content": busy_session(self._mark), "timeoutSeconds": self._limit}
        began = time.time()
        self.report.started += 1
        session = await start(self._topology.http, self._urls[number % 2], body, f"{self._mark}-{number}")
        reader = Traveller(self._topology.http, self._topology.url, session["id"])
        reader.urls = self._urls if number % 2 == 0 else self._urls[::-1]
        self._sessions.append((reader, began, asyncio.create_task(reader.run())))

    async def deploy(self) -> None:
        """All of it, old workers gone and both APIs replaced."""
        if self.report.how == "versioned":
            await self._workers_of_two_versions()
        else:
            await self._one_worker_after_another()

    async def _workers_of_two_versions(self) -> None:
        for name in ("worker3", "worker4"):
            self._topology.add_worker(name, module="tests.survival.next_version", **NEXT["versioned"])
        await self._topology.restart("worker3", "worker4")
        environment = self._topology.parts["worker"].environment
        command = [sys.executable, "-m", "cli.main", "promote", "v2", "--wait", "--timeout", "240"]
        promote = add(self._topology, "promote", command, environment)
        promote.start()
        await self._replace_apis()
        self.report.exits.append(await promote.ended(LIMIT_SECONDS + 60))
        self.report.promoted = promote.said()
        for name in ("worker", "worker2"):
            await self._told_to_go(name)

    async def _one_worker_after_another(self) -> None:
        for old, new in (("worker", "worker3"), ("worker2", "worker4")):
            self._topology.add_worker(new, module="tests.survival.next_version", **NEXT[self.report.how])
            await self._topology.restart(new)
            await self._told_to_go(old)
        await self._replace_apis()

    async def _replace_apis(self) -> None:
        for name in ("api", "api2"):
            await self._told_to_go(name)
            await self._topology.restart(name)

    async def _told_to_go(self, name: str) -> None:
        part = self._topology.parts[name]
        part.signal(signal.SIGTERM)
        self.report.exits.append(await part.ended(STOPS_IN_SECONDS))

    async def judged(self) -> None:
        """Wait for the end of every session, and check it from outside and in Temporal."""
        while len(self._sessions) < self.report.started:
            await asyncio.sleep(0.05)
        async with asyncio.timeout(LIMIT_SECONDS + 30):
            await asyncio.gather(*(reading for _, _, reading in self._sessions))
        client = await Client.connect(self._topology.temporal_address)
        for reader, began, _ in self._sessions:
            self.report.verdict.add(await check_promises(self._topology, reader))
            self.report.refused += len(reader.refusals)
            self.report.connections += reader.connections
            self.report.longest = max(self.report.longest, reader.ended_at - began)
            self.report.cancelled += any(one.type == "session:cancelling" for one in reader.facts)
            await self._look_in_temporal(client.get_workflow_handle(reader.session_id))
        logs = [part.said() for name, part in self._topology.parts.items() if name.startswith("worker")]
        self.report.said_non_determinism = sum(log.count("ondeterminism") for log in logs)
        self.report.left_over = len(processes_with(self._mark))

    async def _look_in_temporal(self, handle: WorkflowHandle[object, object]) -> None:
        described = await handle.describe()
        versioning = described.raw_description.workflow_execution_info.versioning_info
        version = versioning.deployment_version.build_id or "no version"
        self.report.versions[version] += 1
        history = await handle.fetch_history()
        for event in history.events:
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                cause = event.workflow_task_failed_event_attributes.cause
                self.report.tasks_failed[WorkflowTaskFailedCause.Name(cause)] += 1
        scheduled = [event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events]
        self.report.weighed[version] += WEIGH_STEP in scheduled


async def rolling_deploy(
    folder: Path, how: How, *, every: float = 1.0, around: float = 4.0, limit: int = 180
) -> Report:
    """Deploy the next version under load. `every`: seconds between two sessions; `around`: seconds of load before and
    after the deploy."""
    more = {"PERDURE_BUILD_ID": "v1"} if how == "versioned" else {}
    began = time.monotonic()
    async with split(folder, workers=2, apis=2, more={**more, "PERDURE_DRAIN_SECONDS": "0.5"}) as topology:
        rolling = Rolling(topology, how, every, limit)
        async for _ in _loaded(rolling, around):
            await rolling.deploy()
        await rolling.judged()
    rolling.report.seconds = time.monotonic() - began
    return rolling.report


async def _loaded(rolling: Rolling, around: float) -> AsyncIterator[None]:
    loading = asyncio.create_task(rolling.load())
    try:
        await asyncio.sleep(around)
        yield
        await asyncio.sleep(around)
    finally:
        loading.cancel()


def table(report: Report) -> str:
    """The report, one line each."""
    verdict = report.verdict
    lines: list[tuple[str, object]] = [
        ("deploy", report.how),
        ("sessions started", report.started),
        ("sessions ended", verdict.sessions),
        *((f"  by stop reason: {reason}", count) for reason, count in sorted(verdict.ended.items())),
        *((f"  by version: {version}", count) for version, count in sorted(report.versions.items())),
        *((f"  of {version}, with the new activity", count) for version, count in sorted(report.weighed.items())),
        ("failed", report.failed),
        ("cancelled by the deploy", report.cancelled),
        ("workflow tasks failed: non-determinism", report.non_determinism),
        ("workflow tasks failed: other causes", sum(report.tasks_failed.values()) - report.non_determinism),
        ("non-determinism in workers' logs", report.said_non_determinism),
        ("facts", verdict.facts),
        ("facts lost · doubled · reordered", (verdict.facts_lost, verdict.facts_doubled, verdict.facts_reordered)),
        ("recorded replies bought twice", verdict.recorded_bought_twice),
        ("whole replies lost before recording", verdict.lost_and_bought_again),
        ("half replies lost, asked again", verdict.cut_and_bought_again),
        ("side effects run twice", verdict.lines_doubled),
        ("outcomes unknown, and said so", verdict.unknown_outcomes),
        ("readers' connections", report.connections),
        ("readers refused", report.refused),
        ("longest session, s", f"{report.longest:.1f}"),
        ("processes left over", report.left_over),
        ("exit codes", report.exits),
        ("promises broken", len(verdict.broken)),
        ("whole run, s", f"{report.seconds:.0f}"),
    ]
    return "\n".join(f"{name:42}{value}" for name, value in lines)
