"""A known secret's spellings: as it is, in a URL, in JSON, in base64 and in hexadecimal."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
from typing import Final
from urllib.parse import quote, quote_plus

LEAST_CHARS: Final = 6
"""Shorter values are not looked for: they would be found in ordinary words."""

_END_OF_A_MARK: Final = re.compile(r"\A[a-z:]*\]+")
_BEGINNING_OF_A_MARK: Final = re.compile(r"\[+(?:s(?:e(?:c(?:r(?:e(?:t(?::[a-z]*)?)?)?)?)?)?)?\Z")


def spellings(values: Sequence[str], marks: Collection[str]) -> tuple[str, ...]:
    """What to look for, each once, longest first.

    Left out is what could be found again in one of the `marks`, or in a mark and what stands beside it: masking what is
    masked must change nothing.
    """
    found = set()
    for value in values:
        if len(value) >= LEAST_CHARS:
            found |= {_BEGINNING_OF_A_MARK.sub("", _END_OF_A_MARK.sub("", one)) for one in _spelled(value)}
    kept = [one for one in found if len(one) >= LEAST_CHARS and not _is_in_a_mark(one, marks)]
    return tuple(sorted(kept, key=lambda one: (-len(one), one)))


def _is_in_a_mark(one: str, marks: Collection[str]) -> bool:
    return any(one in mark or mark in one for mark in marks)


def _spelled(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "replace")
    yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (quote(raw, safe=""), quote(raw), quote_plus(raw))
    yield from (raw.hex(), raw.hex().upper())
    for before in range(3):
        whole = b64encode(bytes(before) + raw).decode()
        # The characters that are the same whatever stands before and behind the value.
        core = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield from (core, core.replace("+", "-").replace("/", "_"))
