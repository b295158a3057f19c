"""The live bus: it makes streams fast and is never the truth (DESIGN §3).

A bus carries, per session, facts that were committed and deltas that were not; it gives deltas their ids in the order
of arrival, keeps the tail of the running step for late joiners, and passes cancel hints to the activities. Whatever is
lost here, readers find in the store. `InProcessBus` joins an API and a worker in one process; it never blocks: a
subscriber that cannot keep up is told so and reads the store, it does not slow the model's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from session.live import Frame, StoredFact, Tail
from session.vocabulary import CancelMode

Deliver = Callable[[list[Frame], bool], None]
"""Called with new frames, in order, and whether the session is over. It must return at once."""
Hint = Callable[[CancelMode], None]
"""Called when somebody asks to cancel the session. It must return at once."""
Leave = Callable[[], None]
"""Ends a subscription; calling it twice is harmless."""


REMEMBERED_ENDS = 1024


class Bus(Protocol):
    """Port of the live bus. None of its methods raises for a bus that is away, and none that is not async waits."""

    def publish_facts(self, session_id: str, facts: Sequence[StoredFact], over: bool) -> None:
        """Pass on facts that were committed."""

    def publish_delta(self, session_id: str, scope: str, attempt: int, frame: str) -> None:
        """Pass on a live fragment: `frame` is its `data:` line, `scope` and `attempt` fence it (session.live)."""

    def hint_cancel(self, session_id: str, mode: CancelMode) -> None:
        """Tell running activities at once; the workflow's signal stays the authority."""

    def subscribe(self, session_id: str, deliver: Deliver) -> tuple[list[Frame], Leave]:
        """Join: the kept deltas of the running step, as far as they are known here, then `deliver` for what follows."""

    async def caught_up(self, session_id: str) -> list[Frame]:
        """The kept deltas of a session that was subscribed here, once a bus that must fetch them has done so; it waits
        half a second at most. Those that lie before the session's last fact cannot be given to a reader later."""

    def on_cancel(self, session_id: str, hint: Hint) -> Leave:
        """Be told of cancel hints, also of one that came before."""

    @property
    def dropped(self) -> int:
        """Facts and deltas that this process could not pass on, or not read, since it began (for `GET /metrics`)."""

    async def is_up(self) -> bool:
        """Whether the bus works now (for `GET /health/ready`)."""

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Topic:
    tail: Tail = field(default_factory=Tail)
    readers: dict[int, Deliver] = field(default_factory=dict)
    hints: dict[int, Hint] = field(default_factory=dict)
    cancelled: CancelMode | None = None


def _deliver(topic: _Topic, frames: list[Frame], over: bool) -> None:
    for ticket in list(topic.readers):
        if deliver := topic.readers.get(ticket):  # one reader's delivery may make another leave
            deliver(frames, over)


class InProcessBus:
    """The bus of one process. Topics live from the first publication to the session's end."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._ended: dict[str, None] = {}
        self._tickets = 0

    def publish_facts(self, session_id: str, facts: Sequence[StoredFact], over: bool) -> None:
        if session_id in self._ended:
            return
        topic = self._topics.setdefault(session_id, _Topic())
        frames = [frame for fact in facts if (frame := topic.tail.see_fact(fact)) is not None]
        if over:
            self._end(session_id)
        if frames or over:
            _deliver(topic, frames, over)

    def publish_delta(self, session_id: str, scope: str, attempt: int, frame: str) -> None:
        topic = self._topics.get(session_id)
        if topic is None or (stamped := topic.tail.see_delta(scope, attempt, frame)) is None:
            return
        _deliver(topic, [stamped], False)

    def hint_cancel(self, session_id: str, mode: CancelMode) -> None:
        topic = self._topics.get(session_id)
        if topic is None or topic.cancelled == "now":
            return
        topic.cancelled = mode
        for ticket in list(topic.hints):
            if hint := topic.hints.get(ticket):
                hint(mode)

    def subscribe(self, session_id: str, deliver: Deliver) -> tuple[list[Frame], Leave]:
        topic = self._topics.setdefault(session_id, _Topic())
        ticket = self._ticket()
        topic.readers[ticket] = deliver
        return topic.tail.kept(), lambda: self._leave(session_id, topic, ticket)

    async def caught_up(self, session_id: str) -> list[Frame]:
        topic = self._topics.get(session_id)
        return topic.tail.kept() if topic is not None else []

    def on_cancel(self, session_id: str, hint: Hint) -> Leave:
        topic = self._topics.setdefault(session_id, _Topic())
        ticket = self._ticket()
        topic.hints[ticket] = hint
        if topic.cancelled is not None:
            hint(topic.cancelled)
        return lambda: self._leave(session_id, topic, ticket)

    @property
    def dropped(self) -> int:
        return 0

    async def is_up(self) -> bool:
        return True

    async def close(self) -> None:
        self._topics.clear()

    def _end(self, session_id: str) -> None:
        """Drop the topic, and remember a while that it is over: a fact reported late must not bring it back."""
        self._topics.pop(session_id, None)
        self._ended[session_id] = None
        if len(self._ended) > REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def _leave(self, session_id: str, topic: _Topic, ticket: int) -> None:
        topic.readers.pop(ticket, None)
        topic.hints.pop(ticket, None)
        untouched = not topic.readers and not topic.hints and topic.tail.last == 0
        if untouched and self._topics.get(session_id) is topic:
            del self._topics[session_id]
