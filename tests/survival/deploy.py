"""`python -m tests.survival.deploy`: rolling deploys under load, each promise checked, and a table of each."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.survival.rolling import NEXT, rolling_deploy, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.survival.deploy", description=__doc__)
    parser.add_argument("--how", choices=[*NEXT, "both"], default="both", help="both: versioned and compatible")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two sessions")
    parser.add_argument("--around", type=float, default=8.0, help="seconds of load before and after the deploy")
    parser.add_argument("--limit", type=int, default=180, help="the sessions' limit in seconds")
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, kept afterwards")
    options = parser.parse_args()
    broken = 0
    for how in ("versioned", "compatible") if options.how == "both" else (options.how,):
        with tempfile.TemporaryDirectory(prefix="perdure-deploy-", ignore_cleanup_errors=True) as scratch:
            folder = (options.keep or Path(scratch)) / how
            deploy = rolling_deploy(folder, how, every=options.every, around=options.around, limit=options.limit)
            report = asyncio.run(deploy)
        print(report.promoted + table(report) + "\n", flush=True)
        for sentence in report.verdict.broken:
            print(f"BROKEN  {how}: {sentence}", flush=True)
        broken += len(report.verdict.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
