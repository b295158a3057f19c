"""`python -m bench [PART…] [--json FILE] [--quick]`: measure these parts (see `PARTS`), or all, and print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from bench import first, history, kill, lag, load, memory, output, steps
from bench.figures import Figure, show
from bench.stand import Stand, stand

ON_THE_STAND: Final[dict[str, Callable[[Stand], Awaitable[list[Figure]]]]] = {
    "steps": steps.measure,
    "first": first.measure,
    "lag": lag.measure,
    "load": load.measure,
    "memory": memory.measure,
    "history": history.measure,
}
PARTS: Final = (*ON_THE_STAND, "kill", "output")


async def measure(parts: list[str], *, quick: bool, console: Console) -> list[Figure]:
    """Run these parts one after the other, on one stand."""
    figures: list[Figure] = []

    def told(part: str, found: list[Figure], began: float) -> None:
        console.print(f"[dim]{part}: {time.monotonic() - began:.0f} s[/]")
        figures.extend(found)

    if any(part in ON_THE_STAND for part in parts):
        async with stand(quick=quick) as made:
            for part in parts:
                if part in ON_THE_STAND:
                    began = time.monotonic()
                    told(part, await ON_THE_STAND[part](made), began)
    if "kill" in parts:
        began = time.monotonic()
        told("kill", await kill.measure(quick=quick), began)
    if "output" in parts:
        began = time.monotonic()
        told("output", await output.measure(quick=quick, console=console), began)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What Perdure adds to a bare loop.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works, measures little")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    logging.basicConfig(level=logging.WARNING)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    busy = os.getloadavg()[0]
    console.print(f"{machine}, load average {busy:.1f} before the run")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it is stopped in order, as by Ctrl-C
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(measure(options.parts or list(PARTS), quick=options.quick, console=console))
    except KeyboardInterrupt:
        sys.exit(130)
    show(console, figures)
    if options.json:
        told = {"machine": machine, "loadBefore": busy, "figures": [one.as_json() for one in figures]}
        options.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
