"""The JSON file of results: small, and gathered from several runs, as each part can be measured alone.

    {"runs": {"embedded crowd-20": {"machine", "loadBefore", "seconds", "figures": [figure…]}, …}}

What a run measures replaces what the file had of the same part on the same stand; everything else stays.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

from bench.figures import Figure, short


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {cpu_count()} cores, Python {platform.python_version()}"


@dataclass(frozen=True)
class Measured:
    """One part on one stand. `load`: the machine's load average before it, `seconds`: how long it took."""

    stand: str
    part: str
    load: float
    seconds: float
    figures: Sequence[Figure]

    def as_json(self) -> dict[str, Any]:
        figures = [_rounded(one.as_json()) for one in self.figures]
        return {
            "machine": machine(),
            "loadBefore": round(self.load, 1),
            "seconds": round(self.seconds),
            "figures": figures,
        }


class Results:
    """What a file of results says, for the plot and for the plan."""

    def __init__(self, runs: dict[str, Any]) -> None:
        self.runs = runs

    def value(self, stand: str, part: str, what: str, field: str = "median") -> float | None:
        """A figure of a part; None where it was not measured."""
        for one in self.runs.get(f"{stand} {part}", {}).get("figures", ()):
            if one["what"] == what:
                return float(one[field]) if field in one else None
        return None

    def parts(self, stand: str, kind: str) -> list[int]:
        """The numbers N of the parts `kind-N` that were measured on a stand, in order."""
        begin = f"{stand} {kind}-"
        return sorted(int(name.removeprefix(begin)) for name in self.runs if name.startswith(begin))


def read(file: Path) -> Results:
    """An absent file has no results. Raises ValueError when it is not one of ours."""
    return Results(json.loads(file.read_text())["runs"] if file.exists() else {})


def add(file: Path, measured: Sequence[Measured]) -> None:
    """Write what was measured into the file. Raises ValueError when it is not one of ours."""
    runs = read(file).runs | {f"{one.stand} {one.part}": one.as_json() for one in measured}
    file.write_text(json.dumps({"runs": dict(sorted(runs.items()))}, indent=1, ensure_ascii=False) + "\n")


def _rounded(figure: dict[str, Any]) -> dict[str, Any]:
    """Three figures are more than such a measurement holds."""
    numbers = ("median", "low", "high", "bare")
    return {
        name: float(short(value).replace(",", "")) if name in numbers and value is not None else value
        for name, value in figure.items()
        if value is not None and value != ""
    }
