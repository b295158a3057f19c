"""The search index over PostgreSQL's tsvector.

`ts_rank` does not know how rare a word is, so BM25 is worked out here: from how many passages have a word (the GIN
index counts them), how often a passage has it, weighted by where it stands, and how long the passage is. Only the
passages that a quick sum of `ts_rank` puts first are looked at that closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, Connection, Float, Text, bindparam, text

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

CLOSELY: Final = 200
"""Passages that are ranked by BM25 itself."""

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
        SELECT CAST(match AS tsquery) AS match, stem, weight
        FROM unnest(CAST(:matches AS text[]), CAST(:stems AS text[]), CAST(:weights AS float8[]))
            AS asked(match, stem, weight)
    ), near AS (
        SELECT number, length, words FROM memory_words
        WHERE words @@ CAST(:any AS tsquery)
        ORDER BY (
            SELECT sum(weight * ts_rank('{{0.2, 0.2, 0.6, 0.4}}', words, match)) FROM terms
        ) DESC, number LIMIT :closely
    ), found AS (
        SELECT near.number, near.length, terms.weight, (
            SELECT sum(CASE mark WHEN 'A' THEN {PLACE_WEIGHT} WHEN 'B' THEN {HEADING_WEIGHT} ELSE 1 END)
            FROM unnest(near.words) AS held, unnest(held.weights) AS mark
            WHERE held.lexeme LIKE terms.stem
        ) AS often
        FROM near JOIN terms ON near.words @@ terms.match
    )
    SELECT number, sum(weight * often * {K1 + 1} / (often + {K1} * ({1 - B} + {B} * length / :usual))) AS score
    FROM found GROUP BY number ORDER BY score DESC, number LIMIT :most
    """  # noqa: S608 - only constants are put in
).bindparams(
    bindparam("matches", type_=ARRAY(Text)),
    bindparam("stems", type_=ARRAY(Text)),
    bindparam("weights", type_=ARRAY(Float)),
    bindparam("usual", type_=Float),
)


class _Stem(NamedTuple):
    """A term, and the lexemes that it stands for, as a pattern of LIKE."""

    term: Term
    lexemes: str


class TsvectorIndex:
    """A WordIndex. Stems are of letters and digits alone, so none is taken for an operator of tsquery."""

    def rank(self, connection: Connection, words: Sequence[str], limit: int) -> Ranked:
        pieces = connection.execute(_PIECES).one()
        stems = self._stems(connection, words)
        terms = telling([stem.term for stem in stems], pieces.held)
        if not terms:
            return Ranked([], 0)
        lexemes = {stem.term: stem.lexemes for stem in stems}
        anything = " | ".join(term.match for term in terms)
        (total,) = self._held(connection, [anything])
        asked: dict[str, Any] = {
            "matches": [term.match for term in terms],
            "stems": [lexemes[term] for term in terms],
            "weights": [weight(term.held, pieces.held) for term in terms],
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
            _Stem(Term(f"'{stem}':*", begun[stem]), f"{stem}%")
            if stem in begun
            else _Stem(Term(f"'{stem}'", held), stem)
            for stem, held in zip(stems, exact, strict=True)
        ]

    def _held(self, connection: Connection, matches: list[str]) -> list[int]:
        return [row.held for row in connection.execute(_HELD, {"matches": matches})] if matches else []
