"""The store's promises under crashes: whatever a worker does, and wherever it dies, what is told stays whole.

A seeded random worker does what workers do (and what only broken ones do: old attempts, second results, second
closers); at random statements, at commits and just after commits it dies. What follows is checked after every story.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, event

from session.live import Frame, StoredFact
from session.wire import Ending, ModelReply, StepRef
from store import Store
from store.database import Database
from store.ledger import Fenced, NotFound, SessionOver
from store.prepared import Given, Prepared
from store.replies import NewCall
from store.sqlite import Inline
from tests.store.acting import FAILED, OK, new_call, new_session, reply, step, story, tool

EFFECTS = ("readOnly", "idempotent", "sideEffect")


class Death(Exception):
    """The process is gone at this point."""


class Reaper:
    """Dies at the n-th chance: before a statement, before a commit, or before the bus is told of it."""

    def __init__(self, store: Store) -> None:
        self.chances = 0
        engine = store.database.engine
        if isinstance(engine, Engine):
            self._listen_to_prepared(store.database)
        else:
            engine = engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._chance)
        event.listen(engine, "commit", self._chance)
        announce = store.steps.ledgers.announce

        def tell(session_id: str, facts: Sequence[StoredFact], over: bool) -> None:
            self._chance()
            announce(session_id, facts, over)

        store.steps.ledgers.announce = tell

    def _listen_to_prepared(self, database: Database) -> None:
        """The engine does not hear of statements that go to SQLite as they are."""
        assert isinstance(database._ways, Inline)
        statements = database._ways._statements
        prepare = statements.prepared

        def prepared(statement: Any, given: Given) -> Prepared | None:
            if (found := prepare(statement, given)) is not None:
                self._chance()
            return found

        statements.prepared = prepared  # type: ignore[method-assign]

    def _chance(self, *_: Any) -> None:
        self.chances -= 1
        if self.chances == 0:
            raise Death


class Worker:
    """Acts at random on one session, and remembers what a real worker would have done to the world."""

    def __init__(self, store: Store, session_id: str, seed: int) -> None:
        self.store = store
        self.id = session_id
        self.dice = random.Random(seed)
        self.at = StepRef(session_id, 1, 1, 0)
        self.attempt = 0
        self.calls: list[NewCall] = []
        self.effects: Counter[tuple[int, str]] = Counter()
        self.replies: dict[int, ModelReply] = {}

    async def act(self) -> None:
        acts: list[Callable[[], Awaitable[object]]] = [
            self.begin,
            self.begin,
            self.record,
            self.record,
            self.cut,
            self.think,
            self.fail,
            self.run,
            self.run,
            self.run,
            self.advance,
            self.advance,
            self.reset,
            self.cancel,
        ]
        await self.dice.choice(acts)()

    async def begin(self) -> None:
        self.attempt += self.dice.choice((1, 1, 1, 0))
        begun = await self.store.steps.begin(self.at, self.attempt)
        if begun.recorded is not None:
            self.was_given(begun.recorded)

    async def record(self) -> None:
        count = self.dice.randrange(4)
        calls = [new_call(f"t{n}", self.dice.choice(EFFECTS)) for n in range(count)]  # type: ignore[arg-type]
        text = self.dice.choice(("", "said"))
        stored = await self.store.steps.record_reply(self.at, self.old(), reply(text, *calls, thinking=text))
        self.was_given(stored)
        self.calls = [NewCall(ref, {}, "safe") for ref in stored.calls]

    async def cut(self) -> None:
        if self.dice.random() < 0.3:
            await self.store.steps.record_partial(self.at, self.old(), reply("cut", new_call("never")))

    async def think(self) -> None:
        await self.store.steps.start_thinking(self.at, self.old())

    async def fail(self) -> None:
        await self.store.steps.announce_retry(self.at, self.old(), "529", 10)

    async def run(self) -> None:
        if not self.calls:
            return
        call, attempt = self.dice.choice(self.calls), self.dice.randrange(1, 4)
        at = tool(self.at, call.ref.id)
        claim = await (
            self.store.calls.look(at) if call.ref.effect == "readOnly" else self.store.calls.start(at, attempt)
        )
        if claim.fate is None:
            self.effects[self.at.step, call.ref.id] += call.ref.effect != "readOnly"
            if self.dice.random() < 0.8:
                await self.store.calls.record(at, attempt, self.dice.choice((OK, FAILED)), 1)

    async def advance(self) -> None:
        turns = await self.store.transcripts.turns(self.id)
        last = [turn for turn in turns if turn.step == self.at.step and not turn.partial]
        if last and last[0].results and all(result.result for result in last[0].results):
            self.at, self.attempt, self.calls = step(self.id, self.at.step + 1, self.at.epoch_ms), 0, []

    async def reset(self) -> None:
        if self.dice.random() < 0.2:
            self.at, self.attempt = step(self.id, self.dice.randint(1, self.at.step), self.at.epoch_ms + 1), 0

    async def cancel(self) -> None:
        if self.dice.random() < 0.1:
            await self.store.sessions.request_cancel(self.id, self.dice.choice(("now", "graceful")), None, "me")

    def was_given(self, stored: ModelReply) -> None:
        assert self.replies.setdefault(self.at.step, stored) == stored, "a stored reply changed"

    def old(self) -> int:
        """Mostly the newest attempt; sometimes one that should not be heard."""
        return self.attempt - self.dice.choice((0, 0, 0, 0, 1))


@pytest.mark.parametrize("seed", range(20))
async def test_a_story_full_of_crashes_stays_whole(store: Store, seed: int) -> None:
    session = await new_session(store, maxBudget=1000)
    heard: list[Frame] = []
    store.bus.subscribe(session.id, lambda frames, over: heard.extend(frames))
    worker, reaper = Worker(store, session.id, seed), Reaper(store)
    deaths = 0
    for _ in range(60):
        reaper.chances = worker.dice.randrange(1, 25)
        try:
            await worker.act()
        except (Fenced, SessionOver, NotFound):
            continue
        except Death:
            deaths += 1
    closed = await _close(store, session.id, worker, reaper)
    assert deaths
    assert closed <= 1
    await _is_whole(store, session.id, worker)
    positions = [frame.at for frame in heard]
    assert positions == sorted(set(positions))
    stored = {frame.at: frame for frame in await store.facts.after(session.id, 0, 1000)}
    assert all(stored[frame.at] == frame for frame in heard)


async def _close(store: Store, session_id: str, worker: Worker, reaper: Reaper) -> int:
    """Close until it is closed, dying on the way; return how many closers say that it was they."""
    closed = 0
    for chances in (*(worker.dice.randrange(1, 12) for _ in range(4)), 0, 0):
        reaper.chances = chances
        try:
            closed += await store.endings.close(session_id, Ending(worker.dice.choice(("timeout", "endTurn"))))
        except Death:
            continue
    return closed


async def _is_whole(store: Store, session_id: str, worker: Worker) -> None:
    told = await story(store, session_id)
    row = await store.sessions.row(session_id)
    assert [fact.offset for fact in told] == list(range(1, row["last_offset"] + 1))
    kinds = Counter(fact.type for fact in told)
    assert kinds["complete"] + kinds["error"] == 1
    assert told[-1].type == ("error" if kinds["error"] else "message_saved")
    assert kinds["message_saved"] == 1

    once = ("step:start", "thinking:start", "thinking:end", "step:complete")
    assert max(Counter((f.type, f.data["step"]) for f in told if f.type in once).values(), default=1) == 1
    said = Counter((f.data["step"], f.data.get("partial")) for f in told if f.type == "content")
    assert max(said.values(), default=1) == 1
    calls = [(f.data["step"], f.data["id"]) for f in told if f.type == "tool:call"]
    results = [(f.data["step"], f.data["id"]) for f in told if f.type == "tool:result"]
    assert sorted(calls) == sorted(results)
    assert len(set(calls)) == len(calls)

    used = 0
    for turn in await store.transcripts.turns(session_id):
        asked = [block["id"] for block in turn.blocks if block["type"] == "tool_use"]
        assert asked == [result.call_id for result in turn.results]
        assert all(result.result for result in turn.results)
        used += turn.usage["input_tokens"]
    assert row["input_tokens"] >= used
    assert max(worker.effects.values(), default=0) <= 1, "a call that may do harm ran twice"
    assert (await store.conversations.get(row["conversation_id"]))[1] is None
