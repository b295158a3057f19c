"""Text that comes out of tools: cleaned of what no store can hold, and bounded at both ends."""

from collections import deque


def clean(text: str) -> str:
    """The text with NUL, which PostgreSQL cannot store, shown as U+FFFD."""
    return text.replace("\x00", "\ufffd")


def gap(omitted: int, handle: str = "", offset: int = 0) -> str:
    """The line that stands where `omitted` characters were left out; with `handle`, how to read them all the same, from
    `offset` on."""
    rest = f'; read them with retrieve_result {{"handle": "{handle}", "offset": {offset}}}' if handle else ""
    return f"\n[... {omitted:,} characters left out{rest} ...]\n"


def clipped(text: str, cap: int, handle: str = "") -> tuple[str, bool]:
    """`text` in at most about `cap` characters, its head and its tail, and whether anything was left out. `handle`: by
    which the whole can be read."""
    if len(text) <= cap:
        return text, False
    head = cap // 2
    tail = max(0, cap - head - len(gap(len(text), handle, head)))
    return text[:head] + gap(len(text) - head - tail, handle, head) + text[len(text) - tail :], True


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class Recording:
    """The first and the last `side` characters of a stream of any length, in constant memory. `handle`: by which all of
    it can be read later."""

    def __init__(self, side: int, handle: str = "") -> None:
        self._side = side
        self._handle = handle
        self._head: list[str] = []
        self._room = side
        self._tail: deque[str] = deque()
        self._held = 0
        self._omitted = 0

    def add(self, text: str) -> None:
        if self._room:
            self._head.append(text[: self._room])
            text, self._room = text[self._room :], max(0, self._room - len(text))
        if not text:
            return
        self._tail.append(text)
        self._held += len(text)
        # Whole pieces are dropped from the front while what stays is still enough: no copying per piece.
        while self._held - len(self._tail[0]) >= self._side:
            dropped = len(self._tail.popleft())
            self._held -= dropped
            self._omitted += dropped

    @property
    def truncated(self) -> bool:
        return self._omitted + max(0, self._held - self._side) > 0

    def text(self) -> str:
        """What was kept, with a line that says how much is missing in the middle."""
        tail = "".join(self._tail)
        excess = max(0, len(tail) - self._side)
        omitted = self._omitted + excess
        head = "".join(self._head)
        return head + (gap(omitted, self._handle, len(head)) + tail[excess:] if omitted else tail)
