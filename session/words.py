"""Words as memory's index knows them: the same on every database, and nothing that a query language could misread.

Databases cut text into words by rules of their own (one takes `a.b.c` for the name of a host, one leaves `createEngine`
whole). So text is cut here, and they are handed letters and digits with blanks between: names in camel case and in
snake case as their parts, accents folded, and scripts without blanks (Chinese, Japanese, Korean) as pairs of signs.
Stemming is the database's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

MOST_QUERY_WORDS: Final = 32
"""What of a query is looked for; further words hardly change what is found."""
LONGEST_WORD: Final = 64
"""Longer ones (hashes, encoded data) are cut: nobody looks for their end."""

_RUN: Final = re.compile(r"[^\W_]+")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_PAIRED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_ACCENT: Final = re.compile(r"[\u0300-\u036f]")

_NOT_TELLING: Final = (
    "a about am an and any are as at be been being but by can could did do does doing done for from had has have "
    "having he her here him his how i if in into is it its just like me my no nor not of off on or our out own s she "
    "should so some such t than that the their them then there these they this those to too us very was we were what "
    "when where which while who whom whose why will with would you your"
)
STOP_WORDS: Final = frozenset(_NOT_TELLING.split())
"""Words that say nothing about what is asked for."""


def words_of(text: str) -> str:
    """The words of a text in order, lower case, separated by blanks."""
    return " ".join(_words(text))


def query_words(query: str) -> list[str]:
    """The words to look for, each once, in order; without those that say nothing, unless there are no others."""
    found = list(dict.fromkeys(_words(query)))
    telling = [word for word in found if word not in STOP_WORDS]
    return (telling or found)[:MOST_QUERY_WORDS]


def _words(text: str) -> Iterator[str]:
    for run in _RUN.findall(_folded(text)):
        if run.isascii():
            yield from _of_a_name(run)
        else:
            yield from _of_a_script(run)


def _of_a_name(run: str) -> Iterator[str]:
    yield run[:LONGEST_WORD].lower()
    if not (run.islower() or run.isupper() or run.istitle()):
        parts = _PART.findall(run)
        if len(parts) > 1:
            yield from (part[:LONGEST_WORD].lower() for part in parts)


def _of_a_script(run: str) -> Iterator[str]:
    end = 0
    for paired in _PAIRED.finditer(run):
        if paired.start() > end:
            yield run[end : paired.start()][:LONGEST_WORD].casefold()
        signs, end = paired[0], paired.end()
        if len(signs) == 1:
            yield signs
        yield from (signs[at : at + 2] for at in range(len(signs) - 1))
    if end < len(run):
        yield run[end:][:LONGEST_WORD].casefold()


def _folded(text: str) -> str:
    if text.isascii():
        return text
    # Composed again: Korean would fall apart into its letters.
    return unicodedata.normalize("NFKC", _ACCENT.sub("", unicodedata.normalize("NFKD", text)))
