"""Which headers a model may send: any but those by which requests are framed, routed or turned into other ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST, MOST_CHARACTERS = 50, 16_000
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # a token (RFC 9110 §5.6.2)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_REFUSED = {
    **dict.fromkeys(("host", "content-length", "transfer-encoding", "te", "trailer"), "it follows from url and body"),
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings", "expect"),
        "it is the connection's",
    ),
    **dict.fromkeys(("proxy-authorization", "proxy-authenticate"), "there is no proxy"),
    "accept-encoding": "answers are decompressed here",
    # With these a GET, which counts as reading, could be meant as something else.
    **dict.fromkeys(("x-http-method-override", "x-http-method", "x-method-override"), "use `method`"),
}


def checked(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers with their names in lower case. Raises ValueError with a sentence that names the header."""
    if len(headers) > MOST or sum(len(name) + len(value) for name, value in headers.items()) > MOST_CHARACTERS:
        raise ValueError(f"at most {MOST} headers with {MOST_CHARACTERS:,} characters")
    found: dict[str, str] = {}
    for given, value in headers.items():
        name = given.lower()
        if not _NAME.fullmatch(given):
            raise ValueError(f"{given[:60]!r} is no name of a header")
        if name in _REFUSED:
            raise ValueError(f"{given} may not be set: {_REFUSED[name]}")
        if name in found:
            raise ValueError(f"{given} is given twice")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {given} has line ends, control characters or letters outside of Latin-1")
        found[name] = value.strip(" \t")
    return tuple(found.items())
