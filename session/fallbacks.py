"""Fallback models: which one a session goes on with when the one in use does not answer."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

MOST_FALLBACKS: Final = 5


def in_order(model: str, fallback: Iterable[str]) -> list[str]:
    """The models to fall back to: each once, and not the session's own."""
    return [one for one in dict.fromkeys(fallback) if one != model]


def model_of(row: Mapping[str, Any]) -> str:
    """The model in use: the session's own, or the last one that it fell back to."""
    return str(row["fallback_model"] or row["model"])


def next_model(model: str, in_use: str, fallback: list[str]) -> str | None:
    """What comes after the model in use; None where there is nothing more."""
    chain = [model, *fallback]
    at = chain.index(in_use) + 1 if in_use in chain else len(chain)
    return chain[at] if at < len(chain) else None
