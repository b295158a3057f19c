"""A decision about a call counts once, whatever is killed before, while and after it is sent (CONTRACT §4, G2, G4)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.survival.drawn import Json
from tests.survival.drawn_client import stubborn
from tests.survival.promises import check_promises
from tests.survival.reader import Reader, get, start
from tests.survival.scripts import LINES, task
from tests.survival.topology import Topology, split

MARK = "once"
CALL = {"name": "exec", "input": {"command": f"echo {MARK} >> {LINES}"}}
ASKING: Json = {"content": task([{"text": "I write a line.", "tools": [CALL]}]), "securityMode": "ask"}
ROUNDS = 3
BEFORE_THE_KILL = {"allow-once": (0.0, 0.05), "deny": (0.02,)}
"""Seconds between sending a decision and the kill."""


class _Waiting:
    """A session in mode ask that waits for its one approval, with a reader that never gave up."""

    def __init__(self, topology: Topology, session: Json, approval: Json) -> None:
        self.topology = topology
        self.approval = approval
        self.path = f"/api/sessions/{session['id']}/approvals/{approval['id']}"
        self.file = topology.workspace(session["conversationId"]) / LINES
        self.reader = Reader(topology.http, topology.url, session["id"])
        self.reading = asyncio.create_task(self.reader.run())

    @property
    def runs(self) -> int:
        return self.file.read_text().split().count(MARK) if self.file.exists() else 0

    async def ended(self) -> str:
        """Its stop reason, with every promise checked."""
        async with asyncio.timeout(60):
            await self.reading
        verdict = await check_promises(self.topology, self.reader)
        assert not verdict.broken, verdict.broken
        (reason,) = verdict.ended
        return reason

    def told(self, kind: str) -> list[Json]:
        return [one.data for one in self.reader.facts if one.type == kind]


async def _waiting(topology: Topology, key: str) -> _Waiting:
    session = await start(topology.http, topology.url, ASKING, key)
    return _Waiting(topology, session, await _pending(topology, session["id"]))


async def _pending(topology: Topology, session_id: str) -> Json:
    async with asyncio.timeout(30):
        while True:
            found = await get(topology.http, f"{topology.url}/api/approvals?status=pending&sessionId={session_id}")
            if found["approvals"]:
                approval: Json = found["approvals"][0]
                return approval
            await asyncio.sleep(0.02)


async def test_an_approval_that_is_given_after_everything_was_killed_and_started_again_counts_once(
    tmp_path: Path,
) -> None:
    async with split(tmp_path) as topology:
        waiting = await _waiting(topology, "all-killed")
        topology.kill("api", "worker", "temporal")
        await topology.restart("temporal", "worker", "api")
        assert await _pending(topology, waiting.reader.session_id) == waiting.approval
        assert waiting.runs == 0
        answer, _ = await stubborn(topology, waiting.path, {"decision": "allow-once"}, (200,))
        assert answer.json()["approval"]["status"] == "approved"
        assert await waiting.ended() == "endTurn"
        assert waiting.runs == 1
        assert [result["status"] for result in waiting.told("tool:result")] == ["success"]
        assert [resolved["decision"] for resolved in waiting.told("approval:resolved")] == ["allow-once"]
        assert waiting.reader.connections > 1, "the reader was never cut off"


@pytest.mark.parametrize("decision", ["allow-once", "deny"])
async def test_a_decision_that_is_sent_while_the_worker_is_killed_is_answered_truthfully(
    tmp_path: Path, decision: str
) -> None:
    async with split(tmp_path) as topology:
        for seconds in BEFORE_THE_KILL[decision]:
            waiting = await _waiting(topology, f"{decision}-{seconds}")
            sending = asyncio.create_task(stubborn(topology, waiting.path, {"decision": decision}, (200,)))
            await asyncio.sleep(seconds)
            topology.kill("worker")
            await topology.restart("worker")
            async with asyncio.timeout(30):
                answer, tries = await sending
            print(f"{decision}, {seconds} s before the kill: 200 after {tries} tries without an answer")
            assert answer.json()["approval"]["decision"] == decision
            assert await waiting.ended() == "endTurn"
            assert [resolved["decision"] for resolved in waiting.told("approval:resolved")] == [decision]
            _check_runs(waiting, decision)


async def test_a_decision_that_no_worker_takes_is_503_and_what_is_sent_then_is_answered_truthfully(
    tmp_path: Path,
) -> None:
    async with split(tmp_path) as topology:
        for again in ("deny",):
            waiting = await _waiting(topology, f"nobody-{again}")
            topology.kill("worker")
            refused = await topology.http.post(
                f"{topology.url}{waiting.path}", json={"decision": "allow-once"}, timeout=30
            )
            assert (refused.status_code, refused.json()["code"]) == (503, "TEMPORAL_UNAVAILABLE"), refused.text
            assert refused.headers["retry-after"]
            await topology.restart("worker")
            answer, _ = await stubborn(topology, waiting.path, {"decision": again}, (200, 409))
            assert await waiting.ended() == "endTurn"
            (counted,) = [resolved["decision"] for resolved in waiting.told("approval:resolved")]
            assert answer.json()["approval"]["decision"] == counted
            assert answer.status_code == (200 if counted == again else 409)
            print(f"allow-once had no answer, then {again}: {counted} counts")
            _check_runs(waiting, counted)


def _check_runs(waiting: _Waiting, decision: str) -> None:
    """Denied: never. Allowed: once; or the worker died while it ran, which is said, and it is not run again."""
    (result,) = waiting.told("tool:result")
    code = (result["result"].get("error") or {}).get("code")
    if decision == "deny":
        assert (waiting.runs, code) == (0, "DENIED")
    else:
        assert (waiting.runs, code) == (1, None) or (waiting.runs <= 1 and code == "OUTCOME_UNKNOWN")


async def test_of_two_different_decisions_sent_to_two_servers_one_counts_and_the_other_is_told(tmp_path: Path) -> None:
    async with split(tmp_path, apis=2) as topology:
        other = topology.url_of("api2")
        assert other != topology.url
        for turn in range(ROUNDS):
            waiting = await _waiting(topology, f"two-{turn}")
            answers = await asyncio.gather(
                topology.http.post(f"{topology.url}{waiting.path}", json={"decision": "allow-once"}),
                topology.http.post(f"{other}{waiting.path}", json={"decision": "deny"}),
            )
            assert sorted(answer.status_code for answer in answers) == [200, 409], [one.text for one in answers]
            won = next(one for one in answers if one.status_code == 200).json()["approval"]
            lost = next(one for one in answers if one.status_code == 409).json()
            assert (lost["code"], lost["approval"]) == ("APPROVAL_DECIDED", won)
            assert await waiting.ended() == "endTurn"
            assert [resolved["decision"] for resolved in waiting.told("approval:resolved")] == [won["decision"]]
            assert waiting.runs == int(won["status"] == "approved")
