"""1 GB printed by a command: what it takes of the worker's memory and time, what the model sees, and what is kept.

The tool runs in a process of its own, as a worker would run it; its memory is looked at while the output comes. This
part prints a table of its own beside the figures: what the model saw and what is kept cannot be averaged.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from activities.tools import TOOLS, ToolContext, call
from bench.figures import Figure, figure

FLOODS: Final = {"x without a newline": "head -c {size} /dev/zero | tr '\\0' x", "yes": "yes | head -c {size}"}
GOAL_MIB: Final = 64.0
_PAGE: Final = resource.getpagesize()


async def measure(*, quick: bool, console: Console) -> list[Figure]:
    size = (64 if quick else 1024) << 20
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("printed by exec", "memory", "seconds", "the model saw", "the gap", "kept for retrieve_result"):
        table.add_column(name)
    figures: list[Figure] = []
    for what, command in FLOODS.items():
        seen = await _in_its_own_process(command.format(size=size))
        table.add_row(
            f"{size >> 20:,} MiB of {what}",
            f"+{seen['grown'] / 2**20:.0f} MiB",
            f"{seen['seconds']:.1f}",
            f"{seen['shown']:,} characters",
            seen["gap"],
            f"{seen['kept']:,} of {seen['characters']:,} characters",
        )
        told = f"{size >> 20:,} MiB of {what}"
        figures.append(figure("output", f"{told}: worker memory", "MiB", [seen["grown"] / 2**20], goal=GOAL_MIB))
        figures.append(figure("output", f"{told}: time", "s", [seen["seconds"]]))
    console.print(table)
    return figures


async def _in_its_own_process(command: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.output", command), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    seen: dict[str, Any] = json.loads(told)
    return seen


async def _seen(command: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        most = 0

        def look(*_: object) -> None:
            nonlocal most
            most = max(most, _resident())

        async def watch() -> None:
            while True:
                look()
                await asyncio.sleep(0.05)

        context = ToolContext(Path(folder), look, call_id="toolu_1")
        await call(TOOLS["exec"], {"command": "true"}, context)  # what is made once is made
        before, began = _resident(), time.monotonic()
        watching = asyncio.create_task(watch())
        output = await call(TOOLS["exec"], {"command": command, "timeout": 170}, context)
        seconds = time.monotonic() - began
        if output.whole is None:
            raise RuntimeError("nothing was kept: the output was not long")
        kept = sum(len(piece) for piece in output.whole.pieces())
        look()
        watching.cancel()
        output.whole.close()
    return {
        "grown": most - before,
        "seconds": seconds,
        "shown": len(output.content),
        "gap": next(line for line in output.content.splitlines() if "left out" in line)[:90],
        "kept": kept,
        "characters": output.whole.characters,
    }


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_seen(sys.argv[1]))))
