"""Fair order: which of the waiting sessions are admitted when places are free.

The rule: the key with the fewest running sessions first; among such keys, the one whose oldest session waits longest;
within a key, the oldest first. So a key that starts a thousand sessions delays another key's one by no more than the
end of one running session. Pure: the store counts and locks (store/admission.py).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from session.policy import AdmissionPolicy


@dataclass(frozen=True, slots=True)
class Candidate:
    """A session that waits. `key`: its API key's name. `since_ms`: when it was accepted, Unix ms."""

    id: str
    key: str
    since_ms: int

    @property
    def age(self) -> tuple[int, str]:
        """What is smaller is older."""
        return self.since_ms, self.id


def free_places(running: Mapping[str, int], policy: AdmissionPolicy) -> int | None:
    """How many places are free in all; None where there is no limit in all. Fewer than none count as none."""
    return None if policy.running is None else max(0, policy.running - sum(running.values()))


def admitted(waiting: Iterable[Candidate], running: Mapping[str, int], policy: AdmissionPolicy) -> list[Candidate]:
    """Those of `waiting` who are admitted now, in order. `running`: how many of each key have a place already."""
    queues: dict[str, list[Candidate]] = defaultdict(list)
    for one in sorted(waiting, key=lambda one: one.age, reverse=True):
        queues[one.key].append(one)  # the oldest is last
    heap = [(running.get(key, 0), queue[-1].age, key) for key, queue in queues.items()]
    heapq.heapify(heap)
    places = free_places(running, policy)
    chosen: list[Candidate] = []
    while heap and (places is None or len(chosen) < places):
        count, _, key = heapq.heappop(heap)
        if policy.running_per_key is not None and count >= policy.running_per_key:
            continue
        queue = queues[key]
        chosen.append(queue.pop())
        if queue:
            heapq.heappush(heap, (count + 1, queue[-1].age, key))
    return chosen
