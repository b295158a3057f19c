"""The picture of the results: four panels in one SVG, written by hand, so that no plotting library is needed.

Throughput, delta lag and CPU by the number of sessions at once, and delta lag by the number of readers of one session;
the bare loop beside Perdure on each stand that was measured. Axes of sessions, readers and lag are logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from bench.results import Results

WIDTH, HEIGHT = 920, 640
PANEL_WIDTH, PANEL_HEIGHT = 340, 200
LEFT, TOP = 70, 70
COLUMN, ROW = 450, 300
COLOURS: Final = {"embedded": "#1f6feb", "apart": "#d1570b", "bare": "#6e7781"}
NAMES: Final = {
    "embedded": "one process tree (SQLite)",
    "apart": "roles apart (PostgreSQL, Valkey)",
    "bare": "bare loop",
}
PARTS: Final = {
    "perdure": "#0b3d91",
    "worker": "#1f6feb",
    "api": "#54aeff",
    "temporal": "#d1570b",
    "postgres": "#2da44e",
    "valkey": "#bf3989",
}
_STYLE: Final = "font-family:Helvetica,Arial,sans-serif;font-size:12px"


@dataclass(frozen=True)
class Line:
    """A series of a panel: points as (x, y), dashed where it is the worse end of a pair."""

    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """From values to pixels on one axis."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high, value = (math.log10(max(v, 1e-9)) if self.log else v for v in (self.low, self.high, value))
        return self.begin + (value - low) / ((high - low) or 1.0) * (self.end - self.begin)


def drawn(results: Results) -> str:
    """The SVG. Panels without results are empty."""
    body = [
        *_legend(),
        *_panel(0, 0, "sessions completed per second", "sessions at once", _rates(results), log_y=False),
        *_panel(1, 0, "delta lag, ms (p50 solid, p99 dashed)", "sessions at once", _lags(results, "crowd"), log_y=True),
        *_stacks(results),
        *_panel(1, 1, "delta lag, ms (p50 solid, p99 dashed)", "readers of one session", _lags(results, "readers")),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{_STYLE}">'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return "\n".join([head, ground, *body, "</svg>\n"])


def _rates(results: Results) -> list[Line]:
    what = "sessions per second (more is better)"
    lines = [Line(_series(results, stand, "crowd", what), COLOURS[stand]) for stand in ("embedded", "apart")]
    return [*lines, Line(_series(results, "embedded", "crowd", what, "bare"), COLOURS["bare"])]


def _lags(results: Results, kind: str) -> list[Line]:
    drawn_from = (("embedded", "median"), ("apart", "median"), ("embedded", "bare"))
    return [
        Line(
            _series(results, on, kind, f"delta lag {percent}", field),
            COLOURS[on if field == "median" else field],
            dashed,
        )
        for percent, dashed in (("p50", False), ("p99", True))
        for on, field in drawn_from
    ]


def _series(results: Results, stand: str, kind: str, what: str, field: str = "median") -> list[tuple[float, float]]:
    points = []
    for number in results.parts(stand, kind):
        value = results.value(stand, f"{kind}-{number}", what, field)
        if value is not None:
            points.append((float(number), value))
    return points


def _legend() -> list[str]:
    out, x = [], LEFT
    for name, text in NAMES.items():
        out.append(f'<line x1="{x}" y1="24" x2="{x + 24}" y2="24" stroke="{COLOURS[name]}" stroke-width="3"/>')
        out.append(_text(x + 30, 28, text))
        x += 60 + 7 * len(text)
    return out


def _panel(column: int, row: int, title: str, under: str, lines: Sequence[Line], *, log_y: bool = True) -> list[str]:
    left, top = LEFT + column * COLUMN, TOP + row * ROW
    points = [point for line in lines for point in line.points]
    out = [_text(left, top - 12, title, bold=True), *_frame(left, top)]
    if not points:
        return [*out, _text(left + 10, top + 20, "not measured")]
    xs = sorted({x for x, _ in points})
    least = min(y for _, y in points)
    most = max(y for _, y in points)
    across = Scale(xs[0], xs[-1], left + 12, left + PANEL_WIDTH - 12, log=True)
    low, high = (
        (10 ** math.floor(math.log10(max(least, 0.1))), 10 ** math.ceil(math.log10(most))) if log_y else (0, most * 1.1)
    )
    up = Scale(low, high, top + PANEL_HEIGHT, top, log=log_y)
    out += [_text(across.at(x), top + PANEL_HEIGHT + 16, f"{x:,.0f}", anchor="middle") for x in xs]
    out.append(_text(left + PANEL_WIDTH / 2, top + PANEL_HEIGHT + 34, under, anchor="middle", faint=True))
    out += _ticks(left, up, _decades(low, high) if log_y else _rounds(high))
    for line in lines:
        out += _drawn_line(line, across, up)
    return out


def _frame(left: float, top: float) -> list[str]:
    bottom, right = top + PANEL_HEIGHT, left + PANEL_WIDTH
    return [
        f'<line x1="{left}" y1="{top}" x2="{left}" y2="{bottom}" stroke="#24292f"/>',
        f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#24292f"/>',
    ]


def _ticks(left: float, up: Scale, values: Sequence[float]) -> list[str]:
    out = []
    for value in values:
        y = up.at(value)
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + PANEL_WIDTH}" y2="{y:.1f}" stroke="#d0d7de"/>')
        out.append(_text(left - 8, y + 4, f"{value:,.6g}", anchor="end"))
    return out


def _drawn_line(line: Line, across: Scale, up: Scale) -> list[str]:
    if not line.points:
        return []
    at = [(across.at(x), up.at(max(y, up.low) if up.log else y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dash = ' stroke-dasharray="6 4"' if line.dashed else ""
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>' for x, y in at]
    return [f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>', *dots]


def _stacks(results: Results) -> list[str]:
    """CPU seconds of one session by part: a bar for each crowd on each stand."""
    left, top = LEFT, TOP + ROW
    out = [_text(left, top - 12, "CPU seconds per session, by part", bold=True), *_frame(left, top)]
    bars = [
        (
            stand,
            number,
            {name: seconds for name in PARTS if (seconds := _cpu(results, stand, number, name)) is not None},
        )
        for stand in ("embedded", "apart")
        for number in results.parts(stand, "crowd")
    ]
    most = max((sum(cpu.values()) for *_, cpu in bars), default=0)
    if not most:
        return [*out, _text(left + 10, top + 20, "not measured")]
    up = Scale(0, most * 1.1, top + PANEL_HEIGHT, top)
    out += _ticks(left, up, _rounds(most * 1.1))
    room = PANEL_WIDTH / len(bars)
    for at, (stand, number, cpu) in enumerate(bars):
        x, below = left + at * room + room * 0.2, 0.0
        for name, seconds in cpu.items():
            y, height = up.at(below + seconds), up.at(below) - up.at(below + seconds)
            size = f'width="{room * 0.6:.1f}" height="{height:.1f}"'
            out.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{PARTS[name]}"/>')
            below += seconds
        out.append(_text(x + room * 0.3, top + PANEL_HEIGHT + 16, f"{number}", anchor="middle"))
        out.append(_text(x + room * 0.3, top + PANEL_HEIGHT + 31, stand, anchor="middle", faint=True, size=8))
    return [*out, *_key(left, top + PANEL_HEIGHT + 48, {name for *_, cpu in bars for name in cpu})]


def _key(left: float, y: float, names: set[str]) -> list[str]:
    out, x = [], left
    for name in PARTS:
        if name in names:
            out.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{PARTS[name]}"/>')
            told = "worker and API" if name == "perdure" else name
            out.append(_text(x + 14, y, told, size=10))
            x += 22 + 6 * len(told)
    return out


def _cpu(results: Results, stand: str, number: int, name: str) -> float | None:
    return results.value(stand, f"crowd-{number}", f"CPU of {name} per session")


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def _rounds(high: float) -> list[float]:
    """Four or so round numbers up to `high`."""
    rough = high / 4
    scale = 10 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= rough)
    return [step * count for count in range(int(high / step) + 1)]


def _text(
    x: float, y: float, said: str, *, anchor: str = "start", bold: bool = False, faint: bool = False, size: int = 12
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    colour = "#57606a" if faint else "#24292f"
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} fill="{colour}" font-size="{size}"{weight}>{escape(said)}</text>'
