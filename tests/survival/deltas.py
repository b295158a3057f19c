"""What the live fragments of a reader add up to, compared with the facts that hold them in full (CONTRACT §3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.survival.reader import Reader

_WHOLE = {"content:delta": "content", "thinking:update": "thinking:end"}


@dataclass
class Heard:
    """Per kind and step: the fragments since the step's (last) begin, and the fact's text once it came."""

    fragments: dict[tuple[str, int], str] = field(default_factory=dict)
    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    """Fragments that came after the fact that holds them."""

    @property
    def whole(self) -> list[tuple[str, int]]:
        """Where the fragments are exactly the text."""
        return [key for key, text in self.texts.items() if self.fragments.get(key, "") == text]

    @property
    def wrong(self) -> list[tuple[str, int]]:
        """Where they are not even its beginning: one is missing, doubled, or another attempt's."""
        return [key for key, text in self.texts.items() if not text.startswith(self.fragments.get(key, ""))]


def heard(reader: Reader) -> Heard:
    """Put together what this reader got."""
    found = Heard()
    for one in reader.seen:
        step = one.data.get("step", 0)
        if one.type == "step:retry":
            for known in _WHOLE.values():
                found.fragments.pop((known, step), None)
        elif kind := _WHOLE.get(one.type):
            if (kind, step) in found.texts:
                found.late.append(one.id)
            found.fragments[kind, step] = found.fragments.get((kind, step), "") + one.data["delta"]
        elif one.type in _WHOLE.values() and not one.data.get("partial"):
            found.texts[one.type, step] = one.data["text"]
    return found
