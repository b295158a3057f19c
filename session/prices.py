"""What model calls cost: the prices of `prices.toml`, by model and day. Nothing is guessed: no entry, no price."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from itertools import groupby
from typing import Any, Final

from session.usage import Usage

MTOK: Final = 1_000_000
_DATED = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; `over` prices whole requests whose prompt is longer than `over_tokens`."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    over_tokens: int = 0
    over: "Price | None" = None

    def of(self, prompt_tokens: int) -> "Price":
        """The price of a request whose prompt is so long."""
        return self.over if self.over is not None and prompt_tokens > self.over_tokens else self

    def cost(self, usage: Usage) -> float:
        """What one request cost, in US dollars."""
        price = self.of(usage.prompt_tokens)
        spent = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * price.cache_read
            + usage.cache_write_tokens * price.cache_write
        )
        return round(spent / MTOK, 9)


def undated(model: str) -> str:
    """A model's id without the day of its release: `claude-haiku-4-5` of `claude-haiku-4-5-20251001`."""
    return _DATED.sub("", model)


def price_of(model: str, day: date) -> Price | None:
    """The price of a call on that day (UTC), dated ids included; None where it is not known."""
    known = [price for since, price in _PRICES.get(undated(model), ()) if since <= day]
    return known[-1] if known else None


def cost(model: str, usage: Usage, day: date) -> float | None:
    """US dollars for one request of that day, None where the price is not known."""
    price = price_of(model, day)
    return None if price is None else price.cost(usage)


def _price(entry: Mapping[str, Any]) -> Price:
    long = entry.get("over")
    return Price(
        input=entry["input"],
        output=entry["output"],
        cache_read=entry["cache_read"],
        cache_write=entry["cache_write"],
        over_tokens=long["tokens"] if long else 0,
        over=_price(long) if long else None,
    )


def _read() -> dict[str, list[tuple[date, Price]]]:
    """Every model's prices, the earliest first; models in the order of the file."""
    entries = tomllib.loads(files("session").joinpath("prices.toml").read_text("utf-8"))["price"]
    return {
        model: sorted(((entry["since"], _price(entry)) for entry in theirs), key=lambda dated: dated[0])
        for model, theirs in groupby(entries, key=lambda entry: str(entry["model"]))
    }


_PRICES: Final = _read()
KNOWN_MODELS: Final[tuple[str, ...]] = tuple(_PRICES)
