"""The body of an answer, decompressed as it comes and never larger than its bound, whatever it is compressed from."""

from __future__ import annotations

import zlib
from typing import Literal

from activities.tools.spec import ToolError

Ended = Literal["whole", "too large", "too slow", "broken off"]
ENCODINGS = "gzip, deflate"
"""What is asked for in Accept-Encoding, and understood."""
_ANY = zlib.MAX_WBITS | 32
"""zlib's own header or gzip's."""


class Body:
    """At most `size` bytes are taken from the network, and at most as many are kept.

    Raises ToolError UNSUPPORTED_ENCODING.
    """

    def __init__(self, size: int, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ToolError("UNSUPPORTED_ENCODING", f"the answer is compressed in a way that was not asked for: {name}")
        self._size = size
        self._received = 0
        self._kept = bytearray()
        self._inflate = _Inflate() if name not in ("", "identity") else None

    @property
    def finished(self) -> bool:
        """Whether a compressed body came to its end."""
        return self._inflate is None or self._inflate.finished

    def add(self, chunk: bytes) -> bool:
        """Take a piece; False when the bound was reached. A body that is not compressed as it says ends there."""
        self._received += len(chunk)
        room = self._size - len(self._kept)
        piece = chunk if self._inflate is None else self._inflate.feed(chunk, room + 1)
        self._kept += piece[:room]
        return len(piece) <= room and self._received <= self._size

    def content(self) -> bytes:
        return bytes(self._kept)


class _Inflate:
    """Decompression in bounded pieces. What cannot be decompressed is an end that did not come."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_ANY)
        self._begun = False
        self._broken = False

    @property
    def finished(self) -> bool:
        return not self._broken and (self._inner.eof or not self._begun)

    def feed(self, chunk: bytes, most: int) -> bytes:
        """What the chunk decompresses to, at most `most` bytes of it; the rest is lost."""
        made = bytearray()
        while chunk and len(made) < most and not self._broken:
            if self._inner.eof:  # gzip may come in several members, one after the other (RFC 1952)
                self._inner = zlib.decompressobj(_ANY)
            made += self._piece(chunk, most - len(made))
            chunk = self._inner.unused_data
        return bytes(made)

    def _piece(self, chunk: bytes, most: int) -> bytes:
        try:
            return self._inner.decompress(chunk, most)
        except zlib.error:
            if self._begun:
                self._broken = True
                return b""
        finally:
            self._begun = True
        self._inner = zlib.decompressobj(-zlib.MAX_WBITS)  # "deflate" without its header, as some servers send it
        try:
            return self._inner.decompress(chunk, most)
        except zlib.error:
            self._broken = True
            return b""
