"""Private keys in PEM (RFC 7468), whole or cut short, also where their line ends are written as `\\n` in JSON."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

HEAD: Final = "-----BEGIN "
TAIL: Final = "-----END "
MOST_CHARS: Final = 8_000
"""Of one key, from its first line to its last: twice what a 4096-bit RSA key takes."""

_BEGIN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BEGUN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,60}-{0,5}\Z")
_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,60}-----")
_ENDING: Final = re.compile(r"-----END [A-Z0-9 ]{0,60}-{0,5}\Z")
_LINES: Final = re.compile(r"(?:(?:[\s\"',]|\\[nr])*[A-Za-z0-9+/=]{32,})*")


class Block(NamedTuple):
    """Where a private key begins and ends; `end` is -1 while more of the text could change it."""

    start: int
    end: int


def blocks(text: str, begin: int, *, final: bool) -> list[Block]:
    """The private keys that begin at or after `begin`. Without its last line, what looks like a key's lines is one."""
    found = []
    at = text.find(HEAD, begin)
    while at >= 0:
        opening = _BEGIN.match(text, at)
        if opening is not None:
            end = _end(text, at, opening.end(), final=final)
            if end != opening.end():
                found.append(Block(at, end))
        elif not final and _BEGUN.match(text, at):
            found.append(Block(at, -1))
        at = text.find(HEAD, at + 1)
    return found


def _end(text: str, at: int, body: int, *, final: bool) -> int:
    most = at + MOST_CHARS
    last = text.find(TAIL, body, most)
    if last >= 0:
        closing = _END.match(text, last)
        if closing is not None:
            return closing.end()
        if not final and _ENDING.match(text, last):
            return -1
        return last
    if not final and len(text) < most:
        return -1
    lines = _LINES.match(text, body, most)
    return lines.end() if lines else body
