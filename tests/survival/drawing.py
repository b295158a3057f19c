"""Many drawn sessions at once on real processes, which are killed meanwhile; then all is checked from outside."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.survival import drawn_verdict as rows
from tests.survival.drawn import Drawn, draw
from tests.survival.drawn_client import Played, play
from tests.survival.drawn_verdict import Tally, check
from tests.survival.promises import processes_with
from tests.survival.reader import Reader, start
from tests.survival.scripts import task
from tests.survival.topology import Topology, split

TOGETHER: Final = 20
VICTIMS: Final = (("worker",), ("api",), ("worker", "api"))
EXPIRY_SECONDS: Final = 90
"""The limit of the sessions whose approval expires by itself, after 60 s."""
EVERY: Final = 8
"""Of so many sessions one is followed by another in its conversation."""


@dataclass
class Run:
    """What a run came to."""

    tally: Tally = field(default_factory=Tally)
    kills: list[str] = field(default_factory=list)
    followed: int = 0
    expired: int = 0
    requests: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.tally.wrong


async def run_drawn(folder: Path, *, sessions: int, seed: int, kills: int, expiries: int = 0) -> Run:
    """Play so many sessions with so many kills spread over them; `expiries` more wait 60 s for nobody's decision."""
    began = time.monotonic()
    mark = str(seed % 10_000).zfill(4) + str(time.time_ns())[-9:]
    async with split(folder, model="tests.survival.bold_model") as topology:
        one = _Running(topology, seed, mark, sessions, kills)
        await one.play_all()
        await asyncio.gather(*(one.play_expiry(number) for number in range(expiries)))
        await one.look_around()
    one.run.seconds = time.monotonic() - began
    return one.run


class _Running:
    def __init__(self, topology: Topology, seed: int, mark: str, sessions: int, kills: int) -> None:
        self._topology = topology
        self._seed = seed
        self._mark = mark
        self._sessions = sessions
        self._kills = kills
        self._chance = random.Random(seed)
        self._ended = 0
        self._next = 0
        self.run = Run()

    async def play_all(self) -> None:
        killing = asyncio.create_task(self._kill_all())
        try:
            await asyncio.gather(*(self._keep_playing() for _ in range(min(TOGETHER, self._sessions))))
            await killing
        finally:
            killing.cancel()

    async def _keep_playing(self) -> None:
        while self._next < self._sessions:
            number, self._next = self._next, self._next + 1
            await self._play(draw(self._seed, number, self._mark))

    async def _play(self, drawn: Drawn) -> Played | None:
        try:
            played = await play(self._topology, drawn, f"{self._mark}-{drawn.number}")
        except TimeoutError:
            self.run.tally.expect(rows.TERMINAL, False, f"number {drawn.number} did not end")
            return None
        finally:
            self._ended += 1
        await check(self._topology, played, self.run.tally)
        if drawn.number % EVERY == 0:
            await self._follow(played)
        return played

    async def _follow(self, played: Played) -> None:
        """Another session in the same conversation: what went before is in its transcript."""
        turns: list[dict[str, Any]] = [{"thinking": "Again.", "tools": [{"name": "directory_tree", "input": {}}]}]
        body = {"content": task(turns), "conversationId": played.conversation_id}
        session = await start(self._topology.http, self._topology.url, body, f"{self._mark}-after-{played.session_id}")
        reader = Reader(self._topology.http, self._topology.url, session["id"])
        async with asyncio.timeout(200):
            await reader.run()
        reasons = [one.data.get("stopReason") for one in reader.facts if one.type in ("complete", "error")]
        self.run.followed += 1
        self.run.tally.expect(rows.FOLLOWED, reasons == ["endTurn"], f"{session['id']} ended as {reasons}")

    async def _kill_all(self) -> None:
        """At moments spread over the run, which the seed chooses; started again at once, as a supervisor would."""
        for kill in range(self._kills):
            until = (kill + self._chance.uniform(0.2, 0.8)) * self._sessions / max(1, self._kills)
            while self._ended < until:
                await asyncio.sleep(0.01)
            await asyncio.sleep(self._chance.uniform(0.0, 0.5))
            victims = self._chance.choice(VICTIMS)
            self._topology.kill(*victims)
            self.run.kills.append("+".join(victims))
            await self._topology.restart(*victims)

    async def play_expiry(self, number: int) -> None:
        """A session in mode ask that nobody attends to: after 60 s its call is not run, and it goes on."""
        name = f"expiry{number}"
        call = {"name": "write_file", "input": {"path": f"out/{name}.txt", "content": name, "append": True}}
        body = {"content": task([{"tools": [call]}]), "securityMode": "ask", "timeoutSeconds": EXPIRY_SECONDS}
        chance = random.Random(number)
        drawn = Drawn(self._sessions + number, body, "ask", None, "ignore", EXPIRY_SECONDS, None, chance)
        played = await self._play(drawn)
        facts = [] if played is None else played.reader.facts
        codes = [(one.data["result"].get("error") or {}).get("code") for one in facts if one.type == "tool:result"]
        goes_on = bool(facts) and facts[-1].type == "message_saved"
        self.run.expired += 1
        self.run.tally.expect(rows.RAN, codes == ["APPROVAL_EXPIRED"] and goes_on, f"{name}: {codes}")

    async def look_around(self) -> None:
        """What is left behind, and what the model was asked."""
        left = processes_with(self._mark)
        self.run.tally.expect(rows.LEFT, not left, f"{len(left)} processes")
        asked = (await self._topology.http.get(f"{self._topology.fake_url}/_fake/requests")).json()
        self.run.requests = len(asked)
        for request in asked:
            self.run.tally.expect(rows.REFUSED, request["outcome"] != "refused", str(request["error"]))


def table(run: Run) -> str:
    """The run as a table: what there was, then what must be zero."""
    tally = run.tally
    shown: list[tuple[str, Any]] = [
        ("sessions ended", tally.sessions),
        *((f"  as {name}", count) for name, count in tally.reasons.most_common()),
        ("sessions after them in the same conversation", run.followed),
        ("requests to the model", run.requests),
        ("kills", ", ".join(f"{run.kills.count(name)} {name}" for name in sorted(set(run.kills))) or "none"),
        ("calls", sum(tally.outcomes.values())),
        *((f"  {name}", count) for name, count in tally.outcomes.most_common()),
        ("approvals asked for", sum(tally.approvals.values())),
        *((f"  {name}", count) for name, count in tally.approvals.most_common()),
        ("  of these after 60 s", run.expired),
        ("decisions answered 200", tally.answers["200"]),
        ("decisions answered 409", tally.answers["409"]),
        ("tries of a decision without an answer", tally.answers["again"]),
        ("seconds", f"{run.seconds:.0f}"),
    ]
    zeros = [(row, len(tally.wrong.get(row, []))) for row in rows.ROWS]
    return "\n".join(f"{name:52}{value!s:>24}" for name, value in [*shown, *zeros])
