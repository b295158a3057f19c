"""`python -m tests.survival.stopping --runs 20`: how fast cancel and timeout stop the spending, on both topologies."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from tests.survival.stops import BOUND_SECONDS, KINDS, Stopping, measure
from tests.survival.topology import split, whole


async def _measured(folder: Path, name: str, runs: int) -> list[Stopping]:
    async with (whole if name == "serve" else split)(folder) as topology:
        return [await measure(topology, kind, runs, together=5) for kind in KINDS]


def _column(times: list[float]) -> str:
    return f"{statistics.median(times):8.2f}{max(times):8.2f}" if times else f"{'-':>8}{'-':>8}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.survival.stopping", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--topology", choices=["serve", "split", "both"], default="both")
    options = parser.parse_args()
    names = ["serve", "split"] if options.topology == "both" else [options.topology]
    print(f"{'seconds, median and worst':38}{'terminal event':>16}{'stream closed':>16}{'last child gone':>16}")
    good = True
    for name in names:
        with tempfile.TemporaryDirectory(prefix="perdure-stop-", ignore_cleanup_errors=True) as scratch:
            for found in asyncio.run(_measured(Path(scratch), name, options.runs)):
                columns = (found.to_terminal, found.to_stream_closed, found.to_last_child_gone)
                print(f"{name + ': ' + found.kind:38}" + "".join(map(_column, columns)), flush=True)
                for sentence in found.verdict.broken:
                    print(f"BROKEN  {sentence}")
                good = good and not found.verdict.broken and found.worst < BOUND_SECONDS
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
