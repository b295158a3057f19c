"""`python -m bench [PART…] [--on STAND] [--json FILE] [--plot FILE] [--quick]`: measure, print, keep and draw."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from bench import (
    bill,
    costs,
    crowd,
    descriptors,
    first,
    history,
    idle,
    kill,
    lag,
    limits,
    load,
    output,
    plot,
    readers,
    results,
    steps,
)
from bench.apart import APART, stand_apart
from bench.figures import Figure, show
from bench.results import Measured
from bench.stand import EMBEDDED, Stand, stand

Part = Callable[[Stand], Awaitable[list[Figure]]]
CROWDS: Final[dict[str, Part]] = {
    f"crowd-{at_once}": partial(crowd.measure, at_once=at_once) for at_once in (1, 20, 100, 300)
}
READERS: Final[dict[str, Part]] = {
    f"readers-{count}": partial(readers.measure, readers=count) for count in (1, 200, 1000)
}
ON_ANY_STAND: Final[dict[str, Part]] = {**CROWDS, **READERS, "costs": costs.measure}
ON_THE_EMBEDDED: Final[dict[str, Part]] = {
    "steps": steps.measure,
    "first": first.measure,
    "lag": lag.measure,
    "load": load.measure,
    "memory": idle.measure,
    "history": history.measure,
}
ALONE: Final = ("kill", "output", "limits", "bill")
PARTS: Final = (*ON_THE_EMBEDDED, *ON_ANY_STAND, *ALONE)
GROUPS: Final = {"crowd": tuple(CROWDS), "readers": tuple(READERS)}


@asynccontextmanager
async def _stand(name: str, *, quick: bool) -> AsyncIterator[Stand]:
    if name == APART:
        async with stand_apart(quick=quick) as apart:
            yield apart
    else:
        async with stand(quick=quick) as embedded:
            yield embedded


async def measure(
    parts: list[str], stands: list[str], keep: Callable[[Measured], None], *, quick: bool, console: Console
) -> None:
    """Run these parts one after the other: those of a stand together, on each stand that is asked for.

    `keep` is told of each when it is done, so what was measured is not lost with a later part.
    """

    async def told(on: str, part: str, measuring: Callable[[], Awaitable[list[Figure]]]) -> None:
        began, busy = time.monotonic(), os.getloadavg()[0]
        found = await measuring()
        seconds = time.monotonic() - began
        keep(Measured(on, part, busy, seconds, found))
        console.print(f"[dim]{on} {part}: {seconds:.0f} s[/]")

    for on in stands:
        there = {**ON_ANY_STAND, **(ON_THE_EMBEDDED if on == EMBEDDED else {})}
        wanted = [part for part in parts if part in there]
        if wanted:
            async with _stand(on, quick=quick) as made:
                for part in wanted:
                    await told(on, part, partial(there[part], made))
    if "kill" in parts:
        await told(EMBEDDED, "kill", partial(kill.measure, quick=quick))
    if "bill" in parts:
        await told(EMBEDDED, "bill", partial(bill.measure, quick=quick))
    if "limits" in parts:
        await told(EMBEDDED, "limits", partial(limits.measure, quick=quick))
    if "output" in parts:
        await told(EMBEDDED, "output", partial(output.measure, quick=quick, console=console))


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.WARNING)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"{results.machine()}, load average {os.getloadavg()[0]:.1f} before the run")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it is stopped in order, as by Ctrl-C
    if options.parts:
        try:
            measured = _run(options, console)
        except descriptors.TooFew as few:
            sys.exit(f"bench: {few}")
        except KeyboardInterrupt:
            sys.exit(130)
        for on in options.on:
            figures = [figure for one in measured if one.stand == on for figure in one.figures]
            if figures:
                show(console, figures, title=on)
    if options.plot:
        options.plot.write_text(plot.drawn(results.read(options.json)))


def _run(options: argparse.Namespace, console: Console) -> list[Measured]:
    """Raises TooFew."""
    descriptors.allow(max(int(part.rpartition("-")[2]) for part in (*options.parts, "memory-200") if "-" in part))
    measured: list[Measured] = []

    def keep(one: Measured) -> None:
        measured.append(one)
        if options.json:
            results.add(options.json, [one])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(options.parts, options.on, keep, quick=options.quick, console=console))
    return measured


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What Perdure adds to a bare loop.")
    names = f"{', '.join(PARTS)}; {' and '.join(GROUPS)} are all of theirs; default: all; `none`: only --plot"
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {names}")
    stands = {EMBEDDED: [EMBEDDED], APART: [APART], "both": [EMBEDDED, APART]}
    parser.add_argument("--on", choices=stands, help="SQLite in one process tree, PostgreSQL and Valkey apart, or both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there, beside those of other parts")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw what --json holds as SVG")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works, measures little")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - {*PARTS, *GROUPS, "none"})
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    if options.plot and not options.json:
        parser.error("--plot draws the results that --json names")
    wanted = [one for part in options.parts or PARTS for one in GROUPS.get(part, (part,)) if one != "none"]
    options.parts = list(dict.fromkeys(wanted))
    alone = all(part in ON_THE_EMBEDDED or part in ALONE for part in options.parts)
    options.on = stands[options.on or (EMBEDDED if alone else "both")]
    return options


if __name__ == "__main__":
    main()
