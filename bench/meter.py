"""What the parts of the product cost: CPU seconds and memory of each one's processes, from the process table.

The client is this process. A part's tools and other children count to it, those that have ended too. Memory is PSS:
pages that processes share are split between them, so that the parts add up. Where a process's pages may not be looked
at (another user's, or no Linux), its resident memory stands in, which counts shared pages in each.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LOOK_SECONDS = 2.0
"""Looking takes some 10 ms of CPU for a part, and holds its memory map meanwhile: not more often."""


@dataclass
class Peak:
    """The most that was seen of each part while it was watched; bytes."""

    bytes_of: dict[str, int] = field(default_factory=dict)

    def see(self, seen: Mapping[str, int]) -> None:
        for part, size in seen.items():
            self.bytes_of[part] = max(size, self.bytes_of.get(part, 0))


@dataclass(frozen=True)
class Meter:
    """Of these parts: name to the pid of its first process."""

    pids: Mapping[str, int]

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each part so far, and of this process as `client`."""
        spent = {"client": time.process_time()}
        for part, pid in self.pids.items():
            spent[part] = 0.0
            for process in self._processes(pid):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    spent[part] += times.user + times.system + times.children_user + times.children_system
        return spent

    def memory_bytes(self) -> dict[str, int]:
        """PSS of each part now, and of this process as `client`."""
        sizes = {part: sum(_pss(one.pid) for one in self._processes(pid)) for part, pid in self.pids.items()}
        return {"client": _pss(os.getpid()), **sizes}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Peak]:
        """Look at the memory now, every so often, and at the end."""
        peak = Peak()

        async def look() -> None:
            while True:
                peak.see(self.memory_bytes())
                await asyncio.sleep(LOOK_SECONDS)

        looking = asyncio.create_task(look())
        try:
            yield peak
        finally:
            looking.cancel()
            peak.see(self.memory_bytes())

    def _processes(self, pid: int) -> list[psutil.Process]:
        """The part's tree, without the trees of other parts in it."""
        others = set(self.pids.values()) - {pid}
        found, left = [], []
        with suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
        while left:
            process = left.pop()
            found.append(process)
            with suppress(psutil.NoSuchProcess):
                left += [child for child in process.children() if child.pid not in others]
        return found


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each part took in between; never less than nothing, though a child may have ended unseen."""
    return {part: max(0.0, seconds - before.get(part, 0.0)) for part, seconds in after.items()}


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
    return 0
