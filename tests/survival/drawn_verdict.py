"""What is checked of a drawn session that has ended, from outside: events, audit, files (CONTRACT §2-§4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.survival.drawn import Json
from tests.survival.drawn_client import ALLOWING, Played
from tests.survival.promises import Verdict, check_promises
from tests.survival.reader import Seen, get
from tests.survival.scripts import LINES
from tests.survival.topology import Topology

ANSWERS: Final = frozenset({"call", "refusal", "denial", "expiry", "cancel"})
"""Audit kinds of which each call has exactly one: what became of it."""
OF_APPROVALS: Final = frozenset({"approval", "denial", "expiry"})
NEVER_RAN: Final = frozenset(
    {"REFUSED", "DENIED", "APPROVAL_EXPIRED", "UNKNOWN_TOOL", "INVALID_ARGUMENTS", "OUTPUT_LIMIT"}
)
LATE_SECONDS: Final = 15.0
Excused = Callable[[float, float], float]


def _never(_start: float, _end: float) -> float:
    return 0.0


@dataclass
class Tally:
    """Counts of many sessions. `wrong` has a sentence for each thing that is not as it should be, under its row."""

    sessions: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    approvals: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    latest: float = -math.inf
    """The end that came latest, in seconds from the limit."""

    def expect(self, row: str, kept: bool, sentence: str) -> None:
        if not kept:
            self.wrong.setdefault(row, []).append(sentence)


RESULTS: Final = "calls without exactly one result"
TERMINAL: Final = "sessions without exactly one terminal event"
RESOLVED: Final = "approvals without exactly one end"
RAN: Final = "calls that ran and must not, or ran twice"
TRACES: Final = "successes without a trace"
UNTRUE: Final = "decisions answered untruthfully"
AUDIT: Final = "calls whose audit is not one row each"
LATE: Final = "sessions that ended too late"
PROMISES: Final = "other promises broken"
REFUSED: Final = "requests that the model refused"
LEFT: Final = "processes left over"
FOLLOWED: Final = "sessions after them that did not end well"
ROWS: Final = (REFUSED, RESULTS, TERMINAL, RESOLVED, RAN, TRACES, UNTRUE, AUDIT, LEFT, LATE, FOLLOWED, PROMISES)


@dataclass
class _Call:
    """A call as the stream told of it."""

    id: str
    name: str
    arguments: Json
    offset: int
    results: list[Json] = field(default_factory=list)
    required: list[Json] = field(default_factory=list)
    resolved: list[tuple[int, str]] = field(default_factory=list)

    @property
    def code(self) -> str:
        result = self.results[0] if self.results else {}
        return "success" if result.get("success") else str((result.get("error") or {}).get("code"))


async def check(topology: Topology, played: Played, tally: Tally, excused: Excused = _never) -> Verdict:
    """Check one session; nothing may have been added to its conversation since.

    `excused`: for how many seconds between two moments nobody could have ended it.
    """
    base = f"{topology.url}/api/sessions/{played.session_id}"
    session = (await get(topology.http, base))["session"]
    facts = played.reader.facts
    calls = _calls(facts)
    who = f"{played.session_id} (number {played.drawn.number}, {played.drawn.mode})"
    tally.sessions += 1
    tally.reasons[str(session["stopReason"])] += 1
    ends = sum(one.type in ("complete", "error") for one in facts)
    tally.expect(TERMINAL, ends == 1, f"{who}: {ends}")
    limit, ended = (datetime.fromisoformat(session[name]).timestamp() for name in ("deadline", "endedAt"))
    late = ended - limit - excused(limit, ended)
    tally.latest = max(tally.latest, late)
    tally.expect(LATE, late <= LATE_SECONDS, f"{who}: {late:.1f} s after its limit")
    for call in calls.values():
        tally.outcomes[call.code] += 1
        tally.expect(RESULTS, len(call.results) == 1, f"{who}: {call.name} has {len(call.results)}")
        _check_approval(tally, who, call)
    _check_answers(tally, who, played, calls)
    audit = await _audit(topology, base)
    _check_audit(tally, who, calls, audit)
    _check_effects(tally, who, topology.workspace(played.conversation_id), played, calls, audit)
    verdict = await check_promises(topology, played.reader)
    for sentence in [*verdict.broken, *played.problems]:
        tally.expect(PROMISES, False, f"{who}: {sentence}")
    return verdict


def _calls(facts: list[Seen]) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}
    owners: dict[str, _Call] = {}
    for one in facts:
        data = one.data
        if one.type == "tool:call":
            calls[data["toolCallId"]] = _Call(data["toolCallId"], data["name"], data["arguments"], int(one.id))
        elif one.type == "tool:result":
            calls[data["toolCallId"]].results.append(data["result"])
        elif one.type == "approval:required":
            owners[data["approvalId"]] = calls[data["toolCallId"]]
            calls[data["toolCallId"]].required.append(data)
        elif one.type == "approval:resolved":
            owners[data["approvalId"]].resolved.append((int(one.id), data["decision"]))
    return calls


def _check_approval(tally: Tally, who: str, call: _Call) -> None:
    good = len(call.required) == len(call.resolved) <= 1
    tally.expect(RESOLVED, good, f"{who}: {call.name} has {len(call.required)} and {call.resolved}")
    if call.resolved:
        tally.approvals[call.resolved[0][1]] += 1


def _check_answers(tally: Tally, who: str, played: Played, calls: dict[str, _Call]) -> None:
    """200: that decision counts. 409: another one does, or none."""
    for sent in played.sent:
        tally.answers[f"{sent.status}"] += 1
        tally.answers["again"] += sent.unanswered
        decided = [decision for _, decision in calls[sent.call_id].resolved]
        counted = decided == [sent.decision]
        told = sent.told.get("approval", {})
        tally.expect(UNTRUE, counted == (sent.status == 200), f"{who}: {sent.status} to {sent.decision}, is {decided}")
        same = not decided or (told.get("decision") or "expired") == decided[0]
        tally.expect(UNTRUE, same, f"{who}: told of {told.get('decision')}, is {decided}")


async def _audit(topology: Topology, base: str) -> list[Json]:
    entries: list[Json] = []
    cursor: Any = ""
    while cursor is not None:
        page = await get(topology.http, f"{base}/audit?limit=100" + (f"&cursor={cursor}" if cursor else ""))
        entries += page["entries"]
        cursor = page["nextCursor"]
    return entries


def _check_audit(tally: Tally, who: str, calls: dict[str, _Call], audit: list[Json]) -> None:
    kinds: dict[str, list[str]] = {call_id: [] for call_id in calls}
    for entry in audit:
        if entry["toolCallId"] is not None:
            kinds.setdefault(entry["toolCallId"], []).append(entry["kind"])
    for call_id, found in kinds.items():
        call = calls.get(call_id)
        answers = [kind for kind in found if kind in ANSWERS]
        decided = [kind for kind in found if kind in OF_APPROVALS]
        good = call is not None and len(answers) == 1 and len(decided) == len(call.required)
        tally.expect(AUDIT, good, f"{who}: {call.name if call else call_id} ({call.code if call else '-'}) has {found}")


def _check_effects(
    tally: Tally, who: str, folder: Path, played: Played, calls: dict[str, _Call], audit: list[Json]
) -> None:
    """By the files: what ran, ran by the rules, once, and with the arguments that were approved."""
    ran = {entry["toolCallId"] for entry in audit if entry["kind"] == "call"}
    edits = {sent.call_id: sent.arguments for sent in played.sent if sent.arguments and sent.status == 200}
    allowed: dict[str, Json] = {}
    for call in calls.values():
        arguments = edits.get(call.id) or call.arguments
        if call.name == "write_file" and call.id in ran and call.code not in NEVER_RAN:
            allowed[str(arguments.get("path"))] = arguments
            by_rule = played.drawn.may_write(str(call.arguments.get("path")))
            tally.expect(
                RAN, by_rule and _is_approved(played, call, calls), f"{who}: {call.arguments} ran ({call.code})"
            )
            there = (folder / str(arguments.get("path"))).exists()
            tally.expect(TRACES, there or call.code != "success", f"{who}: {arguments} succeeded")
        elif call.name == "exec" and (call.id not in ran or call.code in NEVER_RAN):
            line = str(call.arguments.get("command")).split()[1:2]
            tally.expect(RAN, not set(line) & _lines(folder), f"{who}: {call.arguments} ran although {call.code}")
        elif call.name == "exec":
            good = played.drawn.may_run_commands() and _is_approved(played, call, calls)
            tally.expect(RAN, good, f"{who}: {call.arguments} ran ({call.code})")
    for file in folder.rglob("*") if folder.exists() else ():
        path = str(file.relative_to(folder))
        if file.is_file() and path != LINES:
            wanted = allowed.get(path)
            good = wanted is not None and file.read_text() == wanted["content"]
            tally.expect(RAN, good, f"{who}: {path} is {file.read_text()[:60]!r}")


def _lines(folder: Path) -> set[str]:
    file = folder / LINES
    return set(file.read_text().split()) if file.exists() else set()


def _is_approved(played: Played, call: _Call, calls: dict[str, _Call]) -> bool:
    """By its own approval, or by one that was given always to the same tool before it was called."""
    if played.drawn.mode != "ask":
        return not call.required
    if call.required:
        return any(decision in ALLOWING for _, decision in call.resolved)
    before = [one for one in calls.values() if one.name == call.name and one.offset < call.offset]
    return any(decision == "allow-always" and at < call.offset for one in before for at, decision in one.resolved)
