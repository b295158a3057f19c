"""When the next model call may start, by what the provider says of its rate limits: pure decisions with a given clock.

The provider keeps a bucket for each limit, refilled all the time, and tells with every answer how large it is, what is
left in it and when it will be full again (`anthropic-ratelimit-<kind>-limit`, `-remaining`, `-reset`). Here each is
kept as well: what a call takes is taken when it starts, so calls on their way are counted, and what the provider says
is left is heeded where it is less, so what others use is counted too. Limits are per minute; where a bucket that is
nearly empty will be full sooner, it is filled at that pace.

Before anything is known, one call goes ahead and the others wait for what it hears, a moment at most. Without such
headers nothing is limited. A `retry-after` holds all calls back, for a minute at most: then they ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from session.usage import Usage

KINDS: Final = ("requests", "tokens", "input-tokens", "output-tokens")
FIRST_ANSWER_SECONDS: Final = 2.0
"""How long the others wait for what the first call hears of the limits."""
WINDOW_SECONDS: Final = 60.0
_LATEST_SHARE: Final = 0.3
"""How much the last call weighs in what a call usually takes of the tokens."""
_LONGEST_RETRY_AFTER: Final = 86_400.0


@dataclass(slots=True)
class Bucket:
    """One limit: `level` is what was left at `at` (Unix seconds), `rate` what comes back in a second."""

    limit: float
    level: float
    rate: float
    at: float

    def refill(self, now: float) -> None:
        self.level = min(self.limit, self.level + max(0.0, now - self.at) * self.rate)
        self.at = now  # also where the clock was set back: nothing would come back until it is there again

    def wait(self, needed: float, now: float) -> float:
        """Seconds until so much is there. More than the bucket ever holds is not waited for: that is left to the
        provider."""
        self.refill(now)
        missing = min(needed, self.limit) - self.level
        return max(0.0, missing / self.rate)


@dataclass(slots=True)
class Pace:
    """The calls of one key to one model."""

    known: bool = False
    running: int = 0
    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _usual: dict[str, float] = field(default_factory=lambda: {"requests": 1.0})
    _held_until: float = 0.0
    _first_until: float = 0.0

    def wait(self, now: float, ahead: int = 0) -> float:
        """Seconds until a call may start, 0 for now. `ahead`: how many stand before it."""
        held = min(WINDOW_SECONDS, max(0.0, self._held_until - now))
        self._held_until = now + held  # no longer than that, also where the clock was set back
        if not self.known and self.running:
            self._first_until = min(self._first_until, now + FIRST_ANSWER_SECONDS)
            held = max(held, self._first_until - now)
        waits = [bucket.wait((ahead + 1) * self._needs(kind), now) for kind, bucket in self._buckets.items()]
        return max([held, *waits])

    def _needs(self, kind: str) -> float:
        return max(1.0, self._usual.get(kind, 1.0))

    def start(self, now: float) -> None:
        """A call starts; what it usually takes is taken."""
        if not self.running:
            self._first_until = now + FIRST_ANSWER_SECONDS
        self.running += 1
        for kind, bucket in self._buckets.items():
            bucket.refill(now)
            bucket.level -= self._needs(kind)

    def hear(self, headers: Mapping[str, str], now: float) -> None:
        """Take what an answer says of the limits."""
        self.known = True
        if (seconds := retry_after(headers)) is not None:
            self._held_until = max(self._held_until, now + min(seconds, WINDOW_SECONDS))
        for kind in KINDS:
            told = _told(headers, kind)
            if told is not None:
                self._hear(kind, *told, now=now)

    def _hear(self, kind: str, limit: float, left: float, full_at: float | None, *, now: float) -> None:
        rate = limit / WINDOW_SECONDS
        missing = limit - left
        if full_at is not None and full_at > now and missing * 2 >= limit:
            rate = max(rate, missing / (full_at - now))
        bucket = self._buckets.get(kind)
        if bucket is None or (self.running <= 1):
            level = left
        else:
            bucket.refill(now)
            level = min(bucket.level, left)
            if missing * 2 < limit:  # too little is missing to tell at which pace it comes back
                rate = bucket.rate * limit / bucket.limit
        self._buckets[kind] = Bucket(limit, level, rate, now)

    def end(self, usage: Usage) -> None:
        """A call has ended, whatever became of it."""
        self.running -= 1
        taken = {"input-tokens": usage.input_tokens + usage.cache_write_tokens, "output-tokens": usage.output_tokens}
        taken["tokens"] = sum(taken.values())
        for kind, tokens in taken.items():
            if tokens:
                before = self._usual.get(kind, tokens)
                self._usual[kind] = before + (tokens - before) * _LATEST_SHARE


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `retry-after` header; None where there is none that makes sense."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < _LONGEST_RETRY_AFTER else None


def _told(headers: Mapping[str, str], kind: str) -> tuple[float, float, float | None] | None:
    """Limit, what is left of it, and when it will be whole again (Unix seconds)."""
    name = f"anthropic-ratelimit-{kind}"
    try:
        limit, left = float(headers[f"{name}-limit"]), float(headers[f"{name}-remaining"])
    except (KeyError, ValueError):
        return None
    if not (0 < limit < 1e15 and 0 <= left <= limit):
        return None
    try:
        at = datetime.fromisoformat(headers.get(f"{name}-reset", ""))
    except ValueError:
        return limit, left, None
    return limit, left, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
