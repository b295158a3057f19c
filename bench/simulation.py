"""A small simulation of sessions on a machine: parts with so many processes, cores that they share, and queues.

A session is a chain of pieces of work on parts, with the model's time between them; its deltas are pieces of work of
their own, one after the other on the way from the model to the reader. A part works on as many pieces at once as it has
processes, the machine on as many as it has cores; everything else waits in order, part by part in turn, deltas before
control: a loop comes by all its sockets between two pieces of a transaction. Deltas of one session that wait for the
same part are taken together, as the parts do, for less than they would cost one by one.

Only costs go in (see bench.capacity for where they come from); times per session, rates and lags come out.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final

from bench.figures import percentile

HOPS: Final = 4
"""How often a unit of control visits each part: two tasks (the workflow's and the call's) and their answers."""
TOGETHER: Final = 0.4
"""What a delta costs that is taken together with one that waited, as a share of one alone."""

Then = Callable[[], None]


@dataclass(frozen=True)
class Script:
    """The model's pace and the session's length; seconds."""

    steps: int = 3
    first: float = 0.3
    pace: float = 0.02
    tokens: int = 50


@dataclass(frozen=True)
class Costs:
    """CPU seconds: `control` of a whole session by part, `delta` of one delta by part, in the order of its way.

    `wait`: what passes in each of the session's units (its steps, and its start with its end) without anybody's CPU.
    """

    control: Mapping[str, float]
    delta: Mapping[str, float]
    wait: float = 0.0
    script: Script = Script()


@dataclass(frozen=True)
class Machine:
    """So many cores, and so many processes (or threads that compute at once) of each part."""

    cores: int
    processes: Mapping[str, int]


@dataclass
class Outcome:
    """What became of the sessions: seconds each took, seconds each delta was late, and the seconds in all."""

    times: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    took: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return len(self.times) / self.took

    def time(self, percent: int) -> float:
        return percentile(self.times, percent)

    def lag(self, percent: int) -> float:
        return percentile(self.lags, percent)


@dataclass(slots=True)
class _Piece:
    """Work for one part. `group` is the session whose deltas these are; `stamps` are when the model wrote them."""

    seconds: float
    then: Then | None = None
    group: int | None = None
    stamps: list[float] = field(default_factory=list)
    relay: Callable[[list[float]], None] | None = None


class _World:
    """The clock, the queues and what is free."""

    def __init__(self, machine: Machine) -> None:
        self.now = 0.0
        self.outcome = Outcome()
        self._cores = machine.cores
        self._free = dict(machine.processes)
        self._queues: dict[str, deque[_Piece]] = {part: deque() for part in machine.processes}
        self._deltas: dict[str, deque[_Piece]] = {part: deque() for part in machine.processes}
        self._turns = deque(machine.processes)
        self._waiting: dict[tuple[str, int], _Piece] = {}
        self._events: list[tuple[float, int, Then]] = []
        self._order = count()

    def after(self, seconds: float, then: Then) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), then))

    def work(self, part: str, seconds: float, then: Then) -> None:
        self._queues[part].append(_Piece(seconds, then))
        self._dispatch()

    def take_deltas(
        self, part: str, session: int, seconds: float, stamps: list[float], relay: Callable[[list[float]], None]
    ) -> None:
        """`relay` is called with all that were taken together."""
        waiting = self._waiting.get((part, session))
        if waiting is not None:
            waiting.stamps += stamps
            waiting.seconds += TOGETHER * seconds * len(stamps)
            return
        whole = seconds * (1 + TOGETHER * (len(stamps) - 1))
        piece = self._waiting[part, session] = _Piece(whole, group=session, stamps=list(stamps), relay=relay)
        self._deltas[part].append(piece)
        self._dispatch()

    def run(self) -> Outcome:
        while self._events:
            self.now, _, then = heapq.heappop(self._events)
            then()
        return self.outcome

    def _dispatch(self) -> None:
        passed = 0
        while self._cores and passed < len(self._turns):
            part = self._turns[0]
            self._turns.rotate(-1)
            queue = self._deltas[part] or self._queues[part]
            if queue and self._free[part]:
                self._begin(part, queue.popleft())
                passed = 0
            else:
                passed += 1

    def _begin(self, part: str, piece: _Piece) -> None:
        if piece.group is not None:
            del self._waiting[part, piece.group]
        self._cores -= 1
        self._free[part] -= 1
        self.outcome.busy[part] = self.outcome.busy.get(part, 0.0) + piece.seconds
        self.after(piece.seconds, partial(self._end, part, piece))

    def _end(self, part: str, piece: _Piece) -> None:
        self._cores += 1
        self._free[part] += 1
        if piece.then is not None:
            piece.then()
        elif piece.relay is not None:
            piece.relay(piece.stamps)
        self._dispatch()


class _Session:
    """One session on its way, from its start to its end."""

    def __init__(self, world: _World, costs: Costs, number: int) -> None:
        self._world = world
        self._costs = costs
        self._number = number
        self._began = world.now
        self._step = 0
        self._told = 0
        self._way = list(costs.delta)
        units = costs.script.steps + 1
        self._pieces = [(part, cpu / units / HOPS) for _ in range(HOPS) for part, cpu in costs.control.items() if cpu]
        # The start has one half of a unit, the end the other.
        self._half = self._pieces[: len(self._pieces) // 2]
        self._chain(self._half, costs.wait / 2, self._call_model)

    def _chain(self, pieces: list[tuple[str, float]], wait: float, then: Then) -> None:
        """These pieces one after the other, with the wait spread between them."""
        if not pieces:
            then()
            return
        (part, seconds), *rest = pieces
        share = wait / len(pieces)
        going_on = partial(self._chain, rest, wait - share, then)
        self._world.work(part, seconds, partial(self._world.after, share, going_on) if share else going_on)

    def _call_model(self) -> None:
        script, world = self._costs.script, self._world
        self._step, self._told = self._step + 1, 0
        for token in range(script.tokens):
            world.after(script.first + token * script.pace, self._write)
        if not script.tokens:
            world.after(script.first, self._replied)

    def _write(self) -> None:
        self._relay(0, [self._world.now])

    def _relay(self, at: int, stamps: list[float]) -> None:
        """Deltas have come to this place on their way; the place after the model is where the reply is read."""
        if at == 2:
            self._told += len(stamps)
            if self._told == self._costs.script.tokens:
                self._replied()
        if at == len(self._way):
            self._world.outcome.lags += [self._world.now - stamp for stamp in stamps]
            return
        part = self._way[at]
        self._world.take_deltas(part, self._number, self._costs.delta[part], stamps, partial(self._relay, at + 1))

    def _replied(self) -> None:
        last = self._step == self._costs.script.steps
        self._chain(self._pieces, self._costs.wait, self._close if last else self._call_model)

    def _close(self) -> None:
        self._chain(self._half, self._costs.wait / 2, self._ended)

    def _ended(self) -> None:
        self._world.outcome.times.append(self._world.now - self._began)
        self._world.outcome.took = self._world.now


def crowd(costs: Costs, machine: Machine, at_once: int) -> Outcome:
    """So many sessions that all begin at once."""
    return arriving(costs, machine, [0.0] * at_once)


def arriving(costs: Costs, machine: Machine, begins: list[float]) -> Outcome:
    """Sessions that begin at these seconds."""
    world = _World(machine)

    def begin(number: int) -> None:
        _Session(world, costs, number)

    for number, at in enumerate(begins):
        world.after(at, partial(begin, number))
    return world.run()
