"""Context compaction, the pure rules: when a prompt is too long, and how texts are cut to fit (README, Compaction).

Sizes are in tokens as the provider counted them, and where it has not counted yet they are estimated from bytes: a
token is some four letters of English, three bytes of code, one character of Chinese (three bytes). Too high an estimate
compacts early, too low a one is refused by the provider and compacted then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from session.models import ModelCard

BYTES_PER_TOKEN: Final = 3
OPENING_BYTES: Final = 400_000
"""Earlier messages of a conversation beyond this are summarised, whatever the window: they are sent at every step."""
WORTH_IT: Final = 4
"""A summary is made of nothing smaller than the limit by this: what is always sent may be long by itself, and a summary
at every step would gain nothing."""
SUMMARY_TOKENS: Final = 4_000
"""As long as a summary may be, where the limit is not small itself."""


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """`compact_at`: the share of a prompt's room from which on it is compacted. `window`: tokens that a prompt may have
    at most, where that is less than the model takes."""

    compact_at: float = 0.7
    window: int | None = None

    def room(self, known: ModelCard) -> int:
        """Tokens of the longest prompt: what the model's window leaves beside its longest reply."""
        most = known.context_window - known.output_limit
        return most if self.window is None else min(self.window, most)

    def limit(self, known: ModelCard) -> int:
        """A prompt of so many tokens is compacted."""
        return max(1, int(self.room(known) * self.compact_at))


USUAL: Final = ContextPolicy()


def tokens_of(size: int) -> int:
    """An estimate for so many bytes."""
    return -(-size // BYTES_PER_TOKEN)


def is_due(prompt: int, replaceable: int, limit: int) -> bool:
    """Whether a prompt is to be compacted; `replaceable`: how much of it a summary would stand for. All in tokens."""
    return prompt >= limit and replaceable * WORTH_IT >= limit


def is_near(estimate: int, limit: int) -> bool:
    """Whether an estimate is too near to the limit to be relied upon."""
    return limit * 3 <= estimate * 5 and estimate * 2 <= limit * 3


def is_opening_due(size: int, limit: int) -> bool:
    """Whether earlier messages of so many bytes are too long to begin a session with."""
    return size > OPENING_BYTES or tokens_of(size) >= limit


def summary_tokens(limit: int) -> int:
    """How long a summary may be that stands in the place of a prompt of `limit` tokens."""
    return max(256, min(SUMMARY_TOKENS, limit // 4))


def shortened(text: str, size: int) -> str:
    """The text in about `size` bytes: without its middle where it is longer."""
    raw = text.encode()
    if len(raw) <= size:
        return text
    mark = f"\n[… {len(raw) - size:,} bytes left out …]\n"
    kept = max(0, size - len(mark.encode()))
    head, tail = kept - kept // 3, kept // 3
    return raw[:head].decode(errors="ignore") + mark + raw[len(raw) - tail :].decode(errors="ignore")


def fitted(texts: Sequence[str], size: int) -> list[str]:
    """The texts in about `size` bytes together: the longest lose their middle, all of them to the same length."""
    lengths = sorted(len(text.encode()) for text in texts)
    left = size
    for at, length in enumerate(lengths):
        share = left // (len(lengths) - at)
        if length > share:
            return [shortened(text, share) for text in texts]
        left -= length
    return list(texts)
