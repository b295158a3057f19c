"""`read_file`: lines of a text file, in memory that does not grow with the file."""

import codecs
import os
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from pydantic import Field, field_validator

from activities.tools.confine import located
from activities.tools.spec import Arguments, ToolContext, ToolError, ToolOutput, ToolSpec
from activities.tools.text import count
from activities.tools.threads import Check, in_thread

SHOWN = 48_000
"""Characters given at once."""
CHUNK = 65_536
ENCODINGS = (
    "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be ascii latin-1 cp1252 koi8-r shift_jis euc-jp euc-kr gb18030 big5"
)
# Others of Python's codecs are no encodings of text (base64), or quadratic in time (idna).
_KNOWN = {codecs.lookup(name).name for name in ENCODINGS.split()}


class ReadFile(Arguments):
    path: str = Field(min_length=1, description="File to read, relative to the workspace")
    lines: int | None = Field(default=None, ge=1, description="How many lines to read; as many as fit if left out")
    offset: int = Field(default=1, ge=1, description="Line to begin with; the first line is 1")
    encoding: str = Field(default="utf-8", description=f"One of: {ENCODINGS}")

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
        except LookupError:
            name = ""
        if name not in _KNOWN:
            raise ValueError(f"unknown encoding, use one of {ENCODINGS}")
        return name


class _Page:
    """The lines from `first` on, `lines` of them, as far as `SHOWN` characters hold them."""

    def __init__(self, first: int, lines: int | None) -> None:
        self.line = 1
        self._first = first
        self._end = None if lines is None else first + lines
        self._room = SHOWN
        self._kept: list[str] = []
        self.full = False
        self.cut = False  # inside a line
        self.more = False

    def feed(self, text: str) -> None:
        start = 0
        while start < len(text):
            if self._end is not None and self.line >= self._end:
                self.full = True
            if self.full:
                self.more = True
                return
            end = text.find("\n", start) + 1
            piece = text[start : end or len(text)]
            if self.line >= self._first:
                self._keep(piece)
            if not self.full:
                self.line += end > 0
                start += len(piece)

    def _keep(self, piece: str) -> None:
        if len(piece) <= self._room:
            self._kept.append(piece)
            self._room -= len(piece)
            return
        self.full = True
        text = "".join(self._kept)
        whole = text.rfind("\n") + 1
        self.cut = whole == 0
        self._kept = [text[:whole] if whole else text + piece[: self._room]]

    @property
    def text(self) -> str:
        return "".join(self._kept)


async def run(arguments: ReadFile, context: ToolContext) -> ToolOutput:
    def work(check: Check) -> ToolOutput:
        with (
            located(context.workspace, arguments.path) as place,
            os.fdopen(place.open_file(os.O_RDONLY), "rb") as file,
        ):
            size = os.fstat(file.fileno()).st_size
            return _shown(arguments, _read(arguments, file, check), place.relative, size)

    return await in_thread(work)


def _read(arguments: ReadFile, file: BinaryIO, check: Check) -> _Page:
    page = _Page(arguments.offset, arguments.lines)
    head = file.read(CHUNK)
    _refuse_binary(head, arguments)
    decoder = codecs.getincrementaldecoder(arguments.encoding)(errors="replace")
    for chunk in chain((head,), _chunks(file)):
        check()
        page.feed(decoder.decode(chunk))
        if page.full and page.more:
            return page
    page.feed(decoder.decode(b"", final=True))
    return page


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _refuse_binary(head: bytes, arguments: ReadFile) -> None:
    if arguments.encoding.startswith("utf-16"):
        return
    undecodable = head.decode(arguments.encoding, errors="replace").count("\ufffd")
    if b"\x00" in head or undecodable > max(16, len(head) // 4):
        raise ToolError(
            "BINARY_FILE",
            f"`{arguments.path}` is not {arguments.encoding} text but looks binary; "
            "examine it with exec (file, xxd, strings)",
        )


def _shown(arguments: ReadFile, page: _Page, path: str, size: int) -> ToolOutput:
    text = page.text
    if not text and not page.more:
        if size == 0 and arguments.offset == 1:
            return ToolOutput("[the file is empty]")
        raise ToolError("INVALID_ARGUMENTS", f"`offset`: {path} has fewer than {arguments.offset} lines")
    if page.cut:
        note = f"line {page.line} is longer than the {SHOWN:,} characters shown of it; use exec (cut, head -c)"
    elif page.more:
        shown = f"lines {arguments.offset} to {page.line - 1}"
        note = f"{shown} of a file of {count(size, 'byte')}; go on with offset {page.line}"
    else:
        return ToolOutput(text)
    return ToolOutput(text + ("" if text.endswith("\n") else "\n") + f"[{note}]", truncated=True)


TOOL = ToolSpec(
    name="read_file",
    description=(
        "Read a text file of the workspace, exactly as it is (no line numbers added). Reads from line "
        f"`offset` on, `lines` lines or as many as fit into {SHOWN:,} characters; a last line in brackets "
        "says where to go on. Binary files are refused."
    ),
    arguments=ReadFile,
    security_level="safe",
    effect="readOnly",
    timeout=30,
    output_cap=SHOWN + 1_000,
    run=run,
    quick=True,
    subject="path",
)
