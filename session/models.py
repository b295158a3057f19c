"""What each model can do and costs: how it thinks, whether it takes a temperature, its output limit and its prices.

Facts of Anthropic's model pages as of 2026-11; prices in US dollars per million tokens. A model that is not listed gets
its generation's abilities (read from its name) and no price: its cost is told as null, never guessed.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from session.usage import Usage
from session.vocabulary import Effort

PRICED_ON: Final = "2026-11-01"
MTOK: Final = 1_000_000

Thinking = Literal["adaptive", "budget", "none"]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; `over` prices whole requests whose prompt is longer than `over_tokens`."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    over_tokens: int = 0
    over: "Price | None" = None

    def cost(self, usage: Usage) -> float:
        """What one request cost."""
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if self.over is not None and prompt > self.over_tokens:
            return self.over.cost(usage)
        spent = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        )
        return spent / MTOK


@dataclass(frozen=True, slots=True)
class ModelCard:
    id: str
    thinking: Thinking
    takes_effort: bool
    takes_max_effort: bool
    takes_temperature: bool
    max_output_tokens: int
    context_window: int
    price: Price | None = None

    def effort(self, effort: Effort) -> Effort:
        """The nearest effort that the model knows."""
        return "high" if effort == "max" and not self.takes_max_effort else effort


_HAIKU_5_5_LONG = Price(0.50, 2.50, 0.05, 0.625)
PRICES: Final[dict[str, Price]] = {
    "claude-fable-5-1": Price(10, 50, 0.25, 12.50),
    "claude-mythos-5-1": Price(10, 50, 0.25, 12.50),
    "claude-fable-5": Price(10, 50, 1.00, 12.50),
    "claude-mythos-5": Price(10, 50, 1.00, 12.50),
    "claude-opus-5-5": Price(4, 20, 0.20, 5.00),
    "claude-opus-5": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-8": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-7": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-6": Price(5, 25, 0.50, 6.25),
    "claude-opus-4-5": Price(5, 25, 0.50, 6.25),
    "claude-sonnet-5-5": Price(2, 10, 0.10, 2.50),
    "claude-sonnet-5": Price(2, 10, 0.20, 2.50),
    "claude-sonnet-4-6": Price(3, 15, 0.30, 3.75),
    "claude-sonnet-4-5": Price(3, 15, 0.30, 3.75),
    "claude-haiku-5-5": Price(0.10, 0.50, 0.01, 0.125, 100_000, _HAIKU_5_5_LONG),
    "claude-haiku-4-5": Price(1, 5, 0.10, 1.25),
}

_DATED = re.compile(r"-\d{8}$")
_VERSION = re.compile(r"(?:^|-)(\d{1,2})(?:-(\d{1,2}))?(?=-|$)")


def _version(model: str) -> tuple[int, int]:
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def card(model: str) -> ModelCard:
    """The card of a model id, dated ids included. Models of other makers are plain: no thinking, no effort."""
    name = _DATED.sub("", model)
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
        price=PRICES.get(name),
    )


def cost(model: str, usage: Usage) -> float | None:
    """US dollars for one request, None for a model without a known price."""
    price = card(model).price
    return None if price is None else round(price.cost(usage), 9)


KNOWN_MODELS: Final[tuple[str, ...]] = tuple(PRICES)
