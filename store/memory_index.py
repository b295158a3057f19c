"""The search index of memory, as each database has it: which pieces have the words of a query, the best first.

A port with two adapters, FTS5 and tsvector. Both find any of the words (stems of them), weigh them by BM25, count a
word in a heading or in the path for more, and give a score that means the same: the share of what a passage could get
that had every word many times. A word that nothing has is looked for as the beginning of one. Words that most passages
have say nothing and are left out, unless there are no others.

They work on a plain connection, away from the event loop (Database.apart): how long it takes grows with what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Connection

PLACE_WEIGHT: Final = 2.0
HEADING_WEIGHT: Final = 3.0
K1: Final = 1.2
B: Final = 0.75
"""The constants of BM25, as FTS5 has them built in (sqlite.org/fts5.html, the bm25() function)."""
PREFIX_CHARS: Final = 3
"""Shorter words begin too many others."""
FEW: Final = 100
"""Among so few passages a common word still tells something."""


class Ranked(NamedTuple):
    """Numbers of pieces with their scores (0 to 1), the best first, and how many there were in all."""

    hits: list[tuple[int, float]]
    total: int


class Term(NamedTuple):
    """A word as the database looks for it, and how many pieces have it."""

    match: str
    held: int


class WordIndex(Protocol):
    def rank(self, connection: Connection, words: Sequence[str], limit: int) -> Ranked:
        """The `limit` best pieces for any of these words, which are as session.words cuts them."""


def telling(terms: Sequence[Term], pieces: int) -> list[Term]:
    """The terms worth looking for among so many pieces."""
    held = [term for term in terms if term.held]
    if pieces <= FEW:
        return held
    return [term for term in held if term.held <= pieces / 2] or held


def weight(held: int, pieces: int) -> float:
    """The inverse document frequency of a term, as FTS5's bm25() has it."""
    return max(1e-6, math.log((pieces - held + 0.5) / (held + 0.5)))


def best_possible(terms: Sequence[Term], pieces: int) -> float:
    """What a passage would get that had every term over and over."""
    return sum(weight(term.held, pieces) for term in terms) * (K1 + 1)
