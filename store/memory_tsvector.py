"""The search index over PostgreSQL's tsvector.

`ts_rank` does not know how rare a word is, so BM25 is worked out here: from how many passages have a word (the GIN
index counts them), how often a passage has it, weighted by where it stands, and how long the passage is. Only the
passages that have the most of a query are looked at that closely: reading a tsvector takes longer than finding it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, Boolean, Connection, Float, Text, bindparam, text

from store.memory_index import (
    HEADING_WEIGHT,
    K1,
    PLACE_WEIGHT,
    PREFIX_CHARS,
    B,
    Ranked,
    Term,
    best_possible,
    telling,
    weight,
)

ROUGHLY: Final = 1_000
CLOSELY: Final = 300
"""Passages that are ranked by how much of the query they have, which the index alone tells, and by BM25 itself."""

_PIECES: Final = text("SELECT count(*) AS held, coalesce(avg(length), 1) AS length FROM memory_words")
_STEMS: Final = text(
    "SELECT word, (tsvector_to_array(to_tsvector('english', word)))[1] AS stem "
    "FROM unnest(CAST(:words AS text[])) WITH ORDINALITY AS asked(word, place) ORDER BY place"
).bindparams(bindparam("words", type_=ARRAY(Text)))
_HELD: Final = text(
    "SELECT (SELECT count(*) FROM memory_words WHERE words @@ CAST(match AS tsquery)) AS held "
    "FROM unnest(CAST(:matches AS text[])) WITH ORDINALITY AS asked(match, place) ORDER BY place"
).bindparams(bindparam("matches", type_=ARRAY(Text)))
_BEST: Final = text(
    f"""
    WITH terms AS (
        SELECT CAST(match AS tsquery) AS match, stem, begins, weight
        FROM unnest(CAST(:matches AS text[]), CAST(:stems AS text[]), CAST(:begins AS bool[]),
            CAST(:weights AS float8[])) AS asked(match, stem, begins, weight)
    ), covered AS (
        SELECT held.number, sum(weight) AS weight FROM terms JOIN memory_words AS held ON held.words @@ terms.match
        GROUP BY held.number, held.length ORDER BY sum(weight) DESC, held.length, held.number LIMIT {ROUGHLY}
    ), near AS (
        SELECT held.number, held.length, held.words FROM covered JOIN memory_words AS held USING (number)
        ORDER BY covered.weight * (1 + ts_rank('{{1, 1, 1, 0.4}}', held.words, CAST(:any AS tsquery))) DESC, number
        LIMIT :closely
    ), words AS (
        SELECT near.number, near.length, held.lexeme, held.weights AS marks FROM near, unnest(near.words) AS held
    ), found AS (
        SELECT number, length, stem, weight, marks FROM words JOIN terms ON lexeme = stem AND NOT begins
        UNION ALL
        SELECT number, length, stem, weight, marks FROM words JOIN terms ON begins AND starts_with(lexeme, stem)
    ), counted AS (
        SELECT number, length, weight, sum(
            array_length(marks, 1)
            + {PLACE_WEIGHT - 1} * coalesce(array_length(array_positions(marks, 'A'), 1), 0)
            + {HEADING_WEIGHT - 1} * coalesce(array_length(array_positions(marks, 'B'), 1), 0)
        ) AS often
        FROM found GROUP BY number, length, stem, weight
    )
    SELECT number, sum(weight * often * {K1 + 1} / (often + {K1} * ({1 - B} + {B} * length / :usual))) AS score
    FROM counted GROUP BY number ORDER BY score DESC, number LIMIT :most
    """  # noqa: S608 - only constants are put in
).bindparams(
    bindparam("matches", type_=ARRAY(Text)),
    bindparam("stems", type_=ARRAY(Text)),
    bindparam("begins", type_=ARRAY(Boolean)),
    bindparam("weights", type_=ARRAY(Float)),
    bindparam("usual", type_=Float),
)


class _Stem(NamedTuple):
    """A term, and the lexeme that it stands for, or that begins those which it stands for."""

    term: Term
    lexeme: str
    begins: bool


class TsvectorIndex:
    """A WordIndex. Stems are of letters and digits alone, so none is taken for an operator of tsquery."""

    def rank(self, connection: Connection, words: Sequence[str], limit: int) -> Ranked:
        pieces = connection.execute(_PIECES).one()
        stems = self._stems(connection, words)
        terms = telling([stem.term for stem in stems], pieces.held)
        if not terms:
            return Ranked([], 0)
        chosen = [stem for stem in stems if stem.term in terms]
        anything = " | ".join(term.match for term in terms)
        (total,) = self._held(connection, [anything])
        asked: dict[str, Any] = {
            "matches": [stem.term.match for stem in chosen],
            "stems": [stem.lexeme for stem in chosen],
            "begins": [stem.begins for stem in chosen],
            "weights": [weight(stem.term.held, pieces.held) for stem in chosen],
            "any": anything,
            "usual": float(pieces.length),
            "closely": max(CLOSELY, limit),
            "most": limit,
        }
        best = best_possible(terms, pieces.held)
        rows = connection.execute(_BEST, asked).all()
        return Ranked([(row.number, min(1.0, row.score / best)) for row in rows], total)

    def _stems(self, connection: Connection, words: Sequence[str]) -> list[_Stem]:
        known = [row.stem for row in connection.execute(_STEMS, {"words": list(words)}) if row.stem]
        stems = list(dict.fromkeys(known))  # words of one stem are one term
        if not stems:
            return []
        exact = self._held(connection, [f"'{stem}'" for stem in stems])
        rare = [stem for stem, held in zip(stems, exact, strict=True) if not held and len(stem) >= PREFIX_CHARS]
        begun = dict(zip(rare, self._held(connection, [f"'{stem}':*" for stem in rare]), strict=True))
        return [
            _Stem(Term(f"'{stem}':*", begun[stem]), stem, begins=True)
            if stem in begun
            else _Stem(Term(f"'{stem}'", held), stem, begins=False)
            for stem, held in zip(stems, exact, strict=True)
        ]

    def _held(self, connection: Connection, matches: list[str]) -> list[int]:
        return [row.held for row in connection.execute(_HELD, {"matches": matches})] if matches else []
