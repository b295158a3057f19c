"""Figures: what a part measured, the goal it has, what neighbours have, and the table of them all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured quantity: the median of its rounds with the lowest and the highest, less is better.

    `bare`: the same of the bare loop in the same rounds. `neighbours`: measured earlier on a machine of this size with
    the same scripted model; they belong to the kind of figure, not to this run.
    """

    part: str
    what: str
    unit: str
    median: float
    low: float
    high: float
    bare: float | None = None
    goal: float | None = None
    neighbours: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is; None where there is none."""
        return None if self.goal is None else self.median <= self.goal

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}


def figure(part: str, what: str, unit: str, rounds: Sequence[float], **more: Any) -> Figure:
    """The figure of these rounds' values."""
    return Figure(part, what, unit, statistics.median(rounds), min(rounds), max(rounds), **more)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def show(console: Console, figures: Sequence[Figure], *, title: str = "") -> None:
    """Print the table."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("part", "what", "unit"):
        table.add_column(name, no_wrap=True)
    for name in ("median", "min - max", "bare loop", "goal"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("neighbours")
    for one in figures:
        goal = "" if one.goal is None else f"≤ {one.goal:,.10g}"
        mark = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[one.reached]
        spread = "" if one.low == one.high else f"{short(one.low)} - {short(one.high)}"
        bare = "" if one.bare is None else short(one.bare)
        table.add_row(one.part, one.what, one.unit, short(one.median), spread, bare, goal, mark, one.neighbours)
    console.print(table)


def short(value: float) -> str:
    """A number as people read it: three figures, or whole from a hundred on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
