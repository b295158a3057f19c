"""What each model can do: how it thinks, whether it takes a temperature, its output limit.

Facts of Anthropic's model pages as of 2026-11; a model's abilities are its generation's, read from its name.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from session.prices import undated
from session.vocabulary import Effort

MAX_OUTPUT_TOKENS: Final = 32_000
"""What a call may write, where neither the model nor a budget allows less."""

Thinking = Literal["adaptive", "budget", "none"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    id: str
    thinking: Thinking
    takes_effort: bool
    takes_max_effort: bool
    takes_temperature: bool
    max_output_tokens: int
    context_window: int

    @property
    def output_limit(self) -> int:
        """How many tokens a call may write."""
        return min(MAX_OUTPUT_TOKENS, self.max_output_tokens)

    def effort(self, effort: Effort) -> Effort:
        """The nearest effort that the model knows."""
        return "high" if effort == "max" and not self.takes_max_effort else effort


_VERSION = re.compile(r"(?:^|-)(\d{1,2})(?:-(\d{1,2}))?(?=-|$)")


def _version(model: str) -> tuple[int, int]:
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def card(model: str) -> ModelCard:
    """The card of a model id, dated ids included. Models of other makers are plain: no thinking, no effort."""
    name = undated(model)
    if not name.startswith("claude-"):
        return ModelCard(model, "none", False, False, True, 8_192, 128_000)
    version = _version(name)
    thinking: Thinking = "adaptive" if version >= (4, 6) or version == (0, 0) else "budget"
    if (0, 0) < version < (3, 7):
        thinking = "none"
    return ModelCard(
        id=model,
        thinking=thinking,
        takes_effort=thinking == "adaptive" or name == "claude-opus-4-5",
        takes_max_effort=thinking == "adaptive",
        takes_temperature=(0, 0) < version < (4, 7),
        max_output_tokens=128_000 if version >= (4, 7) else 64_000 if version >= (4, 0) else 8_192,
        context_window=1_000_000 if version >= (4, 7) else 200_000,
    )
