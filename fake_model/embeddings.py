"""A stand-in for an embedding endpoint: a real HTTP server whose vectors are hashed bags of words.

Every word stands for a fixed direction, made from its hash, and a text for the sum of its words' directions. So texts
with words in common are near each other, and nothing is known of meaning: what it shows is that vectors are asked for,
kept and searched, not how good an embedding model is.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import add
from typing import Any

NUMBERS = 256
_WORD = re.compile(r"[a-z0-9]{4,}")
"""Short words are mostly those that say nothing."""
_ENDING = re.compile(r"(?<=...)(?:ing|ed|es|s)$")

Answer = tuple[int, bytes]


class Embeddings:
    """The server at `url`. `asked`: the bodies of its requests; `answer`: what it says instead of vectors."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Answer] | None = None

    def reply(self, path: str, authorization: str, body: bytes) -> Answer:
        """Status and body."""
        request = json.loads(body)
        self.asked.append(request)
        if path != "/v1/embeddings":
            return 404, b"{}"
        if authorization != f"Bearer {self.key}":
            return 401, json.dumps({"error": f"wrong key {authorization}"}).encode()
        if self.answer is not None:
            return self.answer(request)
        data = [{"index": index, "embedding": vector_of(text)} for index, text in enumerate(request["input"])]
        return 200, json.dumps({"model": request["model"], "data": data[::-1]}).encode()


def vector_of(text: str) -> list[float]:
    """The hashed bag of words of a text."""
    counted = Counter(_ENDING.sub("", word) for word in _WORD.findall(text.lower()))
    vector = [0.0] * NUMBERS
    for word, times in counted.items():
        weight = min(times, 3) ** 0.5
        vector = list(map(add, vector, (weight * value for value in _direction(word))))
    return vector if any(vector) else [1.0, *vector[1:]]


@lru_cache(maxsize=50_000)
def _direction(word: str) -> tuple[float, ...]:
    bits = int.from_bytes(hashlib.shake_256(word.encode()).digest(NUMBERS // 8))
    return tuple(1.0 if bits >> at & 1 else -1.0 for at in range(NUMBERS))


@contextmanager
def serving(key: str = "sk-embed") -> Iterator[Embeddings]:
    """Serve on a free port of 127.0.0.1 in a thread until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = embeddings.reply(self.path, self.headers.get("authorization", ""), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    embeddings = Embeddings(f"http://127.0.0.1:{server.server_address[1]}/v1", key)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield embeddings
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
