"""Bytes to text, as the WHATWG Encoding and HTML standards do it: byte order mark, header, `<meta>`, then a guess."""

from __future__ import annotations

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# Where the standard has a wider encoding for a name, that one is meant.
_MEANT = {"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "gb2312": "gb18030", "gbk": "gb18030"} | {
    "shift_jis": "cp932",
    "utf-16": "utf-16-le",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
# Others of Python's codecs are no encodings of the web, and some of them no encodings of text.
_KNOWN = frozenset(
    [f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16)]
    + [f"cp{number}" for number in (866, 874, 932, 949, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)]
    + [
        "utf-8",
        "utf-16-le",
        "utf-16-be",
        "koi8-r",
        "koi8-u",
        "gb18030",
        "big5hkscs",
        "euc_jp",
        "iso2022_jp",
        "mac-roman",
    ]
)
_IN_HEADER = re.compile(r"""charset\s*=\s*["']?([^\s"';,]+)""", re.IGNORECASE)
_IN_META = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_LOOKED_AT = 4_096
"""Bytes in which a `<meta>` counts; the standard says 1,024, some pages are late."""


def decoded(body: bytes, content_type: str, html: bool = False) -> str:
    """The text; what is not valid in its encoding becomes U+FFFD."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    found = _IN_HEADER.search(content_type)
    named = known(found[1]) if found else None
    if named is None and html and (meta := _IN_META.search(body[:_LOOKED_AT])):
        named = known(meta[1].decode("ascii", "replace"))
        if named is not None and named.startswith("utf-16"):
            named = "utf-8"  # it could not have been read as it was
    if named is not None:
        return body.decode(named, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        # Cut in the middle of a character, by the bound on its size: still UTF-8.
        cut = error.reason == "unexpected end of data"
        return body.decode("utf-8" if cut else "cp1252", "replace")


def known(label: str) -> str | None:
    """The codec for a charset's label, where it is one of the web's encodings of text."""
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _MEANT.get(name, name)
    return name if name in _KNOWN else None
