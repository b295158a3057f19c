"""`python -m tests.survival.generated --sessions 500 --seed 7`: sessions drawn by a seed, with kills; exit 1 if any row
that must be zero is not."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.survival.drawing import run_drawn, table

SHOWN = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.survival.generated", description=__doc__)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--expiries", type=int, default=3, help="sessions at the end that wait 60 s for a decision")
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, kept afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-drawn-", ignore_cleanup_errors=True) as scratch:
        playing = run_drawn(
            options.keep or Path(scratch),
            sessions=options.sessions,
            seed=options.seed,
            kills=options.kills,
            expiries=options.expiries,
        )
        run = asyncio.run(playing)
    for row, sentences in run.tally.wrong.items():
        for sentence in sentences[:SHOWN]:
            print(f"WRONG  {row}: {sentence}")
    print(table(run))
    return 0 if run.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
