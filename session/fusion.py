"""Putting two rankings together by the ranks alone (reciprocal rank fusion; Cormack, Clarke and Büttcher, SIGIR 2009):
scores of different kinds cannot be compared, places can."""

from collections.abc import Sequence
from typing import Final

K: Final = 60
"""How little the first places stand out; the paper's value."""


def fused(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """What is ranked anywhere, the best first, with scores up to 1: that is first everywhere."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, number in enumerate(ranking):
            scores[number] = scores.get(number, 0.0) + (K + 1) / (K + 1 + place) / len(rankings)
    return dict(sorted(scores.items(), key=lambda each: (-each[1], each[0])))
