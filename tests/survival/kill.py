"""`python -m tests.survival.kill --target worker --seed 1 --kills 20`: kill, check each promise, print a table."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.survival.killing import TARGETS, Report, kill_loop, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.survival.kill", description=__doc__)
    parser.add_argument("--target", choices=[*TARGETS, "every"], default="every")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=4, help="how many run at the same time")
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, kept afterwards")
    options = parser.parse_args()
    targets = list(TARGETS) if options.target == "every" else [options.target]
    reports: list[Report] = []
    for target in targets:
        with tempfile.TemporaryDirectory(prefix="perdure-kill-", ignore_cleanup_errors=True) as scratch:
            folder = (options.keep or Path(scratch)) / target
            loop = kill_loop([target], folder, seed=options.seed, kills=options.kills, concurrently=options.sessions)
            reports.append(asyncio.run(loop))
        for sentence in reports[-1].verdict.broken:
            print(f"BROKEN  {target}: {sentence}", flush=True)
    print(table(reports))
    return 1 if any(report.verdict.broken for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
