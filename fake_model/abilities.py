"""What each model accepts: the per-model rules of the Messages API as of November 2026 (platform.claude.com).

A `claude-` name without a version is taken for the newest kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MODELS = (
    "claude-fable-5-2",
    "claude-fable-5-1",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
)
ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_VERSION = re.compile(r"(?:^|-)(\d{1,2})(?:-(\d{1,2}))?(?=-|$)")
_DATED = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Abilities:
    """`thinking`: the accepted values of thinking.type. `bound_thinking`: a thinking block is good only behind the
    very prompt that it was issued for. `window`: tokens of the longest prompt."""

    thinking: frozenset[str]
    thinks_unasked: bool
    hides_thinking: bool
    efforts: tuple[str, ...]
    sampling: bool
    prefill: bool
    forced_tools: bool
    bound_thinking: bool
    max_tokens: int
    window: int


@lru_cache(maxsize=256)
def abilities(model: str) -> Abilities | None:
    """The rules for a model id, dated ids included; None for a model that is not there."""
    name = _DATED.sub("", model)
    if not name.startswith("claude-"):
        return None
    version = _version(name)
    newest_line = "fable" in name or "mythos" in name
    always_thinks = (newest_line and version >= (5, 1)) or ("opus" in name and version >= (5, 5))
    return Abilities(
        thinking=_thinking(name, version, always_thinks),
        thinks_unasked=version >= (5, 0),
        hides_thinking=version >= (4, 7),
        efforts=_efforts(name, version),
        sampling=version < (4, 7),
        prefill=version < (4, 6),
        forced_tools=not always_thinks and not (version >= (5, 5) and "sonnet" in name),
        bound_thinking=version >= (5, 1),
        max_tokens=128_000 if version >= (4, 6) else 64_000 if version >= (3, 7) else 8_192,
        window=1_000_000 if version >= (4, 7) else 200_000,
    )


def _version(name: str) -> tuple[int, int]:
    found = _VERSION.search(name)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)


def _thinking(name: str, version: tuple[int, int], always: bool) -> frozenset[str]:
    if version < (3, 7):
        return frozenset({"disabled"})
    if version < (4, 6):
        return frozenset({"enabled", "disabled"})
    if version < (4, 7):
        return frozenset({"enabled", "adaptive", "disabled"})
    if version >= (5, 5) and "sonnet" in name:
        return frozenset({"adaptive", "between_tools"})
    return frozenset({"adaptive"} if always else {"adaptive", "disabled"})


def _efforts(name: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return ALL_EFFORTS
    if version >= (4, 6):
        return ("low", "medium", "high", "max")
    return ("low", "medium", "high") if name == "claude-opus-4-5" else ()
