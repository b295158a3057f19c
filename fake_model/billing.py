"""What a request costs in tokens: four characters are one, and prompts are cached as the API caches them.

A breakpoint stores the prefix that it ends. A later request reads the longest stored prefix that ends at one of its
breakpoints or up to 20 blocks before it. Entries are per key and model; unlike the API's they have no smallest size and
do not expire.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from fake_model.prompt import Prompt

LOOKBACK_BLOCKS = 20
KEPT_PREFIXES = 200_000


def tokens(chars: int) -> int:
    return -(-chars // 4)


@dataclass(slots=True)
class Bill:
    """Tokens of one request, named as in the API's `usage`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0

    def as_usage(self) -> dict[str, int]:
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_creation_input_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
            "output_tokens": self.output_tokens,
        }


class PromptCache:
    """The prefixes that were stored, the least used forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def bill(self, owner: str, prompt: Prompt) -> Bill:
        """The input side of a request's bill; its breakpoints are stored. `owner` is the key and the model."""
        whole = tokens(prompt.total_chars)
        if not prompt.marks:
            return Bill(input_tokens=whole)
        end = max(prompt.marks)
        found = self._longest(owner, prompt)
        for mark in prompt.marks:
            self._known[owner, prompt.digests[mark]] = None
        while len(self._known) > KEPT_PREFIXES:
            self._known.popitem(last=False)
        read = tokens(prompt.chars[found]) if found >= 0 else 0
        marked = tokens(prompt.chars[end])
        return Bill(
            input_tokens=whole - marked, cache_read_input_tokens=read, cache_creation_input_tokens=marked - read
        )

    def _longest(self, owner: str, prompt: Prompt) -> int:
        for mark in sorted(set(prompt.marks), reverse=True):
            for at in range(mark, max(-1, mark - LOOKBACK_BLOCKS - 1), -1):
                key = (owner, prompt.digests[at])
                if key in self._known:
                    self._known.move_to_end(key)
                    return at
        return -1
