"""Changing files at a `Place`: whole or not at all, and never through a special file."""

import os
import secrets
import stat
from contextlib import suppress

from activities.tools.confine import Place
from activities.tools.spec import ToolError
from activities.tools.threads import Check

MAX_EDIT_BYTES = 10_000_000


def replace(place: Place, content: bytes, check: Check, executable: bool | None = None) -> bool:
    """Make `content` the file here, atomically; True when the file is new.

    The mode of a file that was there stays (but for `executable`, where that is said); its owner and
    extended attributes are those of a new file. A crash in the middle leaves the old file as it was and a
    `.*.tmp` beside it. Not synced to disk: a power cut may undo it.
    """
    before = place.status()
    if before is not None:
        place.require_file(before)
        if not os.access(place.name, os.W_OK, dir_fd=place.folder):
            raise ToolError("PERMISSION_DENIED", f"`{place.relative}` is write-protected")
    temporary = f".{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(temporary, flags, 0o666, dir_fd=place.folder)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(content)
            mode = stat.S_IMODE((before or os.fstat(file.fileno())).st_mode)
            if before is not None or executable is not None:
                os.fchmod(file.fileno(), _with_x(mode, executable))
        check()
        # rename replaces the name itself: a link that was put there meanwhile is replaced, not followed.
        os.rename(temporary, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=place.folder)
        raise
    return before is None


def _with_x(mode: int, executable: bool | None) -> int:
    """Executable for those who may read it, or for nobody; None leaves it."""
    if executable is None:
        return mode
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111


def append(place: Place, content: bytes) -> bool:
    """Add `content` to the end of the file here; True when the file is new. A full disk may leave a part of
    it."""
    new = place.status() is None
    with os.fdopen(place.open_file(os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        if os.fstat(file.fileno()).st_nlink > 1:
            raise ToolError(
                "OUTSIDE_WORKSPACE",
                f"`{place.relative}` is a hard link: the same file has a name elsewhere. Write it anew instead",
            )
        file.write(content)
    return new


def read_whole(place: Place) -> bytes:
    """All bytes of the file here, which may be at most `MAX_EDIT_BYTES`."""
    with os.fdopen(place.open_file(os.O_RDONLY), "rb") as file:
        content = file.read(MAX_EDIT_BYTES + 1)
    if len(content) > MAX_EDIT_BYTES:
        raise ToolError("TOO_LARGE", f"`{place.relative}` is larger than {MAX_EDIT_BYTES:,} bytes")
    return content


def text_of(content: bytes, path: str) -> str:
    """The content of a file that is to be changed and written back. Raises `ToolError` where it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:  # writing it back would spoil the rest
        raise ToolError("BINARY_FILE", f"`{path}` is not UTF-8 text: byte {error.start} does not fit") from error
