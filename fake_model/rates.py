"""The rate limit: a bucket of requests for each key and model, refilled all the time, and told with every answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil, floor

from fake_model.refusal import Refused

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


@dataclass(slots=True)
class Rates:
    """`per_second` requests of a key to a model, as many at once. Without it nothing is limited, nor told."""

    per_second: float | None = None
    clock: Callable[[], float] = time.time
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, owner: str, told: Headers) -> None:
        """Take one request and add what is told of the limit.

        Raises:
            Refused: with 429 when nothing is left; nothing is taken then.
        """
        if self.per_second is None:
            return
        limit, now = self.per_second, self.clock()
        bucket = self._buckets.setdefault(owner, _Bucket(limit, now))
        bucket.level = min(limit, bucket.level + (now - bucket.at) * limit)
        bucket.at = now
        is_left = bucket.level >= 1
        if is_left:
            bucket.level -= 1
        full = datetime.fromtimestamp(now + (limit - bucket.level) / limit, UTC).isoformat().replace("+00:00", "Z")
        values = {"limit": f"{limit:g}", "remaining": str(floor(bucket.level)), "reset": full}
        told += [(f"anthropic-ratelimit-requests-{name}".encode(), value.encode()) for name, value in values.items()]
        if not is_left:
            wait = ceil((1 - bucket.level) / limit)
            message = f"This request would exceed your rate limit of {limit:g} requests per second."
            raise Refused(message, 429, retry_after=wait)
