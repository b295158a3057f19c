"""What a client was promised, checked from outside on one session that has ended (CONTRACT §3, DESIGN §1).

Nothing here looks into the store: the stream as one unlucky reader got it, the stream as somebody reads it afterwards,
the session and its conversation, the fake model's log of requests, and the files that the commands wrote.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.survival.reader import Reader, Seen, get
from tests.survival.scripts import LINES
from tests.survival.topology import Topology

OF_THE_REPLY = frozenset({"thinking:end", "content", "tool:call"})
GOOD_END = ["summary", "complete", "message_saved"]
BAD_END = ["message_saved", "error"]
TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass
class Verdict:
    """What was found of one session, or of many added up. `broken` has a sentence for each broken promise."""

    broken: list[str] = field(default_factory=list)
    sessions: int = 0
    terminal_events: int = 0
    facts: int = 0
    facts_lost: int = 0
    facts_doubled: int = 0
    facts_reordered: int = 0
    deltas_doubled: int = 0
    recorded_bought_twice: int = 0
    lost_and_bought_again: int = 0
    cut_and_bought_again: int = 0
    lines_doubled: int = 0
    lines_missing: int = 0
    unknown_outcomes: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    def add(self, other: Verdict) -> None:
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, mine + theirs)

    def expect(self, kept: bool, sentence: str) -> None:
        if not kept:
            self.broken.append(sentence)


async def check_promises(topology: Topology, reader: Reader) -> Verdict:
    """Everything that can be checked of one session, alone in its conversation, whose reader has come to its end."""
    session = (await get(topology.http, f"{topology.url}/api/sessions/{reader.session_id}"))["session"]
    about = await get(topology.http, f"{topology.url}/api/chat/conversations/{session['conversationId']}")
    verdict = await check_session(topology, reader, session)
    verdict.expect(about["activeSessionId"] is None, "its conversation is still busy")
    roles = [message["role"] for message in about["messages"]]
    verdict.expect(roles == ["user", "assistant"], f"its conversation has the messages {roles}")
    verdict.broken = [f"{reader.session_id}: {sentence}" for sentence in verdict.broken]
    return verdict


async def check_session(topology: Topology, reader: Reader, session: dict[str, Any]) -> Verdict:
    """What can be checked of a session whatever else there is in its conversation."""
    afterwards = Reader(topology.http, topology.url, reader.session_id)
    await afterwards.run()
    verdict = Verdict(sessions=1, facts=len(afterwards.facts), ended=Counter([str(session["stopReason"])]))
    check_view(verdict, reader, afterwards)
    _check_end(verdict, afterwards.facts)
    _check_steps(verdict, afterwards.facts)
    _check_calls(verdict, afterwards.facts)
    _check_bought(verdict, afterwards.facts, await topology.bought(reader.session_id))
    _check_lines(verdict, afterwards.facts, topology.workspace(session["conversationId"]) / LINES)
    verdict.expect(session["status"] in TERMINAL, f"the session is {session['status']} after its end")
    return verdict


def check_view(verdict: Verdict, reader: Reader, afterwards: Reader) -> None:
    """What this reader got is what everybody gets afterwards, and nothing came twice."""
    _check_ids(verdict, reader)
    _check_facts(verdict, reader.facts, afterwards.seen)
    verdict.expect(not reader.refusals, f"the reader was refused: {reader.refusals[:3]}")


def _check_ids(verdict: Verdict, reader: Reader) -> None:
    """No id twice, and every one beyond the last."""
    at = (0, 0)
    for one in reader.seen:
        if one.position <= at:
            kind = "facts" if one.is_fact else "deltas"
            setattr(verdict, f"{kind}_doubled", getattr(verdict, f"{kind}_doubled") + 1)
            verdict.broken.append(f"the id {one.id} ({one.type}) came after {at[0]}.{at[1]}")
        at = max(at, one.position)


def _check_facts(verdict: Verdict, live: Sequence[Seen], afterwards: Sequence[Seen]) -> None:
    """1 … n without gaps, the same bytes for the one who was there and for the one who comes later."""
    verdict.expect(all(one.is_fact for one in afterwards), "a replay of what is over has deltas")
    told, again = [(one.id, one.line) for one in live], [(one.id, one.line) for one in afterwards]
    wanted = [str(offset) for offset in range(1, len(again) + 1)]
    verdict.expect([fact[0] for fact in again] == wanted, f"the offsets are not 1 … n: {[fact[0] for fact in again]}")
    if told == again:
        return
    missing, extra = set(again) - set(told), set(told) - set(again)
    verdict.facts_lost += len(missing)
    verdict.facts_reordered += int(not missing and not extra)
    verdict.broken.append(f"two readers got different facts: missing {sorted(missing)[:2]}, other {sorted(extra)[:2]}")


def _check_end(verdict: Verdict, facts: Sequence[Seen]) -> None:
    types = [one.type for one in facts]
    ends = types.count("complete") + types.count("error")
    verdict.terminal_events += ends
    verdict.expect(ends == 1, f"there are {ends} terminal events")
    in_order = types[-3:] == GOOD_END or (types[-2:] == BAD_END and "complete" not in types)
    verdict.expect(in_order, f"it ends with {types[-3:]}")
    verdict.expect(types[:2] == ["user_message", "session:start"], f"it begins with {types[:2]}")


def _check_steps(verdict: Verdict, facts: Sequence[Seen]) -> None:
    """Each step begins once, in order, and is complete at most once."""
    began = [one.data["step"] for one in facts if one.type == "step:start"]
    verdict.expect(began == list(range(1, len(began) + 1)), f"the steps began as {began}")
    done = [one.data["step"] for one in facts if one.type == "step:complete"]
    verdict.expect(done == sorted(set(done)), f"the steps were complete as {done}")
    spoken = Counter(one.data["step"] for one in facts if one.type == "content" and not one.data.get("partial"))
    verdict.expect(all(count == 1 for count in spoken.values()), f"a step spoke twice: {spoken}")


def _check_calls(verdict: Verdict, facts: Sequence[Seen]) -> None:
    called = [one.data["toolCallId"] for one in facts if one.type == "tool:call"]
    answered = [one.data["toolCallId"] for one in facts if one.type == "tool:result"]
    verdict.expect(len(set(called)) == len(called), "a call was made twice")
    verdict.expect(sorted(called) == sorted(answered), f"{len(called)} calls have {len(answered)} results")


def _check_bought(verdict: Verdict, facts: Sequence[Seen], requests: Sequence[dict[str, Any]]) -> None:
    """A reply that was recorded is never asked for again; one that was lost before may be, and is counted."""
    recorded: dict[int, float] = {}
    for one in facts:
        if one.type in OF_THE_REPLY and not one.data.get("partial"):
            recorded.setdefault(one.data["step"], one.event["timestamp"] / 1000)
    for turn in sorted({request["turn"] for request in requests if request["turn"] is not None}):
        asked = [request for request in requests if request["turn"] == turn]
        late = [request for request in asked if request["opened_at"] > recorded.get(turn + 1, float("inf"))]
        verdict.recorded_bought_twice += len(late)
        verdict.expect(not late, f"step {turn + 1} was recorded and asked for again")
        completed = sum(request["outcome"] == "completed" for request in asked)
        verdict.lost_and_bought_again += max(0, completed - 1)
        verdict.cut_and_bought_again += max(0, len(asked) - max(1, completed))


def _check_lines(verdict: Verdict, facts: Sequence[Seen], file: Path) -> None:
    """Every command that leaves a mark left one, or its result says that nobody knows."""
    lines = Counter(file.read_text().splitlines() if file.exists() else [])
    results = {one.data["toolCallId"]: one.data["result"] for one in facts if one.type == "tool:result"}
    for one in facts:
        if one.type != "tool:call" or one.data["name"] != "exec":
            continue
        marked = re.match(r"echo (\S+) >> ", one.data["arguments"]["command"])
        if marked is None:
            continue
        result = results.get(one.data["toolCallId"], {})
        unknown = (result.get("error") or {}).get("code") == "OUTCOME_UNKNOWN"
        verdict.unknown_outcomes += unknown
        count = lines[marked[1]]
        verdict.lines_doubled += max(0, count - 1)
        verdict.expect(count <= 1, f"the command {marked[1]} ran {count} times")
        if result.get("success") and count == 0:
            verdict.lines_missing += 1
            verdict.broken.append(f"the command {marked[1]} succeeded without a trace")


def processes_with(text: str) -> list[int]:
    """The living processes that have this text among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes() and folder.name != "self":
                found.append(int(folder.name))
        except OSError:
            continue
    return found
