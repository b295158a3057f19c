"""A shelf in memory, as the store's is on disk."""

from collections.abc import Mapping


class MemoryShelf:
    def __init__(self, outputs: Mapping[str, str] | None = None) -> None:
        self.outputs = dict(outputs or {})
        self.notes: dict[str, str] = {}

    async def output(self, handle: str, offset: int, length: int) -> tuple[str, int] | None:
        text = self.outputs.get(handle)
        return None if text is None else (text[offset : offset + length], len(text))

    async def note(self, name: str) -> str | None:
        return self.notes.get(name)

    async def put_note(self, name: str, text: str) -> None:
        self.notes[name] = text
