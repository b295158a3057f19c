"""The search index over SQLite's FTS5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, text

from store.memory_index import (
    HEADING_WEIGHT,
    PLACE_WEIGHT,
    PREFIX_CHARS,
    Ranked,
    Term,
    best_possible,
    telling,
)

_PIECES: Final = text("SELECT count(*) FROM memory_chunks")
_HELD: Final = text("SELECT count(*) FROM memory_words WHERE memory_words MATCH :match")
_BEST: Final = text(
    "SELECT rowid, -bm25(memory_words, :place, :heading, 1.0) AS score FROM memory_words "
    "WHERE memory_words MATCH :match ORDER BY score DESC, rowid LIMIT :most"
).bindparams(place=PLACE_WEIGHT, heading=HEADING_WEIGHT)


class Fts5Index:
    """A WordIndex. Words stand in quotes, so that none is taken for an operator of FTS5's query language."""

    def rank(self, connection: Connection, words: Sequence[str], limit: int) -> Ranked:
        pieces = int(connection.execute(_PIECES).scalar_one())
        terms = telling([self._term(connection, word) for word in words], pieces)
        if not terms:
            return Ranked([], 0)
        match = " OR ".join(term.match for term in terms)
        total = int(connection.execute(_HELD, {"match": match}).scalar_one())
        rows = connection.execute(_BEST, {"match": match, "most": limit}).all()
        best = best_possible(terms, pieces)
        return Ranked([(row.rowid, min(1.0, row.score / best)) for row in rows], total)

    def _term(self, connection: Connection, word: str) -> Term:
        quoted = '"' + word.replace('"', '""') + '"'
        held = int(connection.execute(_HELD, {"match": quoted}).scalar_one())
        if held or len(word) < PREFIX_CHARS:
            return Term(quoted, held)
        beginning = f"{quoted} *"
        return Term(beginning, int(connection.execute(_HELD, {"match": beginning}).scalar_one()))
