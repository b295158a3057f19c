"""The embedding endpoint that the operator chose: texts in, vectors out, over the widely spoken `/embeddings` call
(`{"model", "input": [...]}` → `{"data": [{"index", "embedding"}]}`).

It is an extra: where it fails, passages are found by their words alone, and what has no vector yet gets one later. What
it answers is bounded, checked, and never shown: an error may repeat the key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx2

from session.policy import EmbeddingPolicy

logger = logging.getLogger("perdure.memory")
BATCH: Final = 32
"""Texts that are sent at once."""
REFUSED: Final = (400, 413, 422)
MOST_BYTES: Final = 16 << 20
MOST_NUMBERS: Final = 8_192
SECONDS: Final = 20.0
QUERY_SECONDS: Final = 5.0
"""How long a search waits for the vector of its query."""
PAUSE_SECONDS: Final = 30.0
"""How long searches go without an endpoint that failed."""


class EmbeddingFailed(Exception):
    """There are no vectors; the message says why, without what the endpoint said."""


class EmbeddingRefused(EmbeddingFailed):
    """One of the texts is not to the endpoint's liking (too long for its model, perhaps); others may well be."""


class Embedder:
    """Asks the endpoint. One per process, closed by whoever made it."""

    def __init__(self, policy: EmbeddingPolicy) -> None:
        self.model = policy.model
        headers = {"Authorization": f"Bearer {policy.key}"} if policy.key else {}
        self._url = policy.url
        self._client = httpx2.AsyncClient(headers=headers, follow_redirects=False)
        self._not_before = 0.0

    async def close(self) -> None:
        await self._client.aclose()

    async def query(self, text: str) -> list[float] | None:
        """The vector of a query; None where the endpoint does not answer in time, or did not a moment ago."""
        if time.monotonic() < self._not_before:
            return None
        try:
            return (await self.vectors([text], QUERY_SECONDS))[0]
        except EmbeddingRefused:
            return None
        except EmbeddingFailed as error:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            logger.warning("searching by words alone for %g s: %s", PAUSE_SECONDS, error)
            return None

    async def vectors(self, texts: Sequence[str], seconds: float = SECONDS) -> list[list[float]]:
        """One vector for each text, in their order; at most `BATCH`. Raises EmbeddingFailed, EmbeddingRefused."""
        try:
            async with asyncio.timeout(seconds):
                body = await self._ask(texts)
                return await asyncio.to_thread(_vectors, body, len(texts))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, UnicodeEncodeError) as error:
            raise EmbeddingFailed(f"the embedding endpoint did not answer ({type(error).__name__})") from None

    async def _ask(self, texts: Sequence[str]) -> bytes:
        request = {"model": self.model, "input": list(texts)}
        async with self._client.stream("POST", self._url, json=request, timeout=SECONDS) as answer:
            if answer.status_code != 200:
                failed = EmbeddingRefused if answer.status_code in REFUSED else EmbeddingFailed
                raise failed(f"the embedding endpoint answered {answer.status_code}")
            body = bytearray()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MOST_BYTES:
                    raise EmbeddingFailed(f"the embedding endpoint answered more than {MOST_BYTES} bytes")
            return bytes(body)


def _vectors(body: bytes, count: int) -> list[list[float]]:
    """The vectors of an answer. Raises EmbeddingFailed."""
    try:
        answer = json.loads(body)
        found = {int(each["index"]): _vector(each["embedding"]) for each in answer["data"]}
        vectors = [found[index] for index in range(count)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise EmbeddingFailed("the embedding endpoint's answer is not what it should be") from None
    if len({len(vector) for vector in vectors}) > 1:
        raise EmbeddingFailed("the embedding endpoint gave vectors of different lengths")
    return vectors


def _vector(given: Any) -> list[float]:
    vector = [float(value) for value in given]
    if not 0 < len(vector) <= MOST_NUMBERS or not all(map(math.isfinite, vector)) or not any(vector):
        raise ValueError("no vector")
    return vector
