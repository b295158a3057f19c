"""`python -m fake_model --port N`: serves in this process and prints `{"url": …}` on one line when it is ready."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress

from fake_model.serve import serve


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fake_model", description="A strict fake of Anthropic's Messages API"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--keep-bodies", action="store_true", help="keep request bodies in the log")
    parser.add_argument("--requests-per-second", type=float, help="of a key to a model; more are answered 429")
    parser.add_argument("--window", type=int, help="tokens of the longest prompt; default: what each model takes")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        serve(
            options.host,
            options.port,
            _tell,
            keep_bodies=options.keep_bodies,
            requests_per_second=options.requests_per_second,
            window=options.window,
        )


def _tell(url: str) -> None:
    sys.stdout.write(json.dumps({"url": url}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
