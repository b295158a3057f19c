"""`python -m bench.capacity [--json FILE] [--write PAGE]`: from measured costs to more machines than one.

First the simulation (bench.simulation) is given the counted costs of a session and must come to what the crowds
measured; then the same costs say what 1,000 and 100,000 sessions a minute take (bench.plan). The page keeps its prose;
the tables between its marks are written by this command.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench import plan, results
from bench.figures import short
from bench.results import Results
from bench.simulation import Costs, Machine, Outcome, crowd

RESULTS: Final = Path(__file__).parents[1] / "docs" / "bench.json"
WAYS: Final = {"embedded": ("model", "perdure", "client"), "apart": ("model", "worker", "valkey", "api", "client")}
"""A delta's way, by stand: what reads the reply comes second."""
ONE_CORE: Final = frozenset({"perdure", "worker", "api", "valkey", "model", "client"})
"""Parts whose process computes on one core at a time."""
CORES: Final = 2
CROWDS: Final = (1, 20, 100, 300)
TOLERANCE: Final = 0.35
"""How far a simulated rate or time may be from the measured one, as a share of it."""
_MARKS: Final = re.compile(r"(<!-- (\w+): written by bench\.capacity -->\n).*?(<!-- end -->)", re.DOTALL)


def costs_of(found: Results, stand: str) -> Costs | None:
    """A session's costs on a stand as they were counted; None where they were not."""
    deltas = found.value(stand, "costs", "deltas")
    if not deltas:
        return None
    parts = [what.removeprefix("CPU of ") for what in _counted(found, stand) if what.startswith("CPU of ")]
    names = [name for name in parts if not name.endswith(" without deltas")]
    plain = {name: found.value(stand, "costs", f"CPU of {name} without deltas") or 0.0 for name in names}
    typed = {name: found.value(stand, "costs", f"CPU of {name}") or 0.0 for name in names}
    way = [name for name in WAYS[stand] if name in names]
    per_delta = {name: max(0.0, typed[name] - plain[name]) / deltas for name in way}
    # What a part off the way took more is its share of control, however it came about.
    control = {name: plain[name] if name in way else typed[name] for name in names}
    return Costs(control, per_delta)


def _counted(found: Results, stand: str) -> list[str]:
    return [str(one["what"]) for one in found.runs[f"{stand} costs"]["figures"]]


def machine_of(costs: Costs, cores: int = CORES) -> Machine:
    """The machine that the crowds were measured on: one process of each part."""
    return Machine(cores, {name: 1 if name in ONE_CORE else cores for name in costs.control})


def calibrated(found: Results, stand: str) -> Costs | None:
    """The costs, with the wait that is missing in one session alone: the only figure of a crowd that is put in."""
    costs, alone = costs_of(found, stand), found.value(stand, "crowd-1", "time per session, p50")
    if costs is None or alone is None:
        return None
    simulated = crowd(costs, machine_of(costs), 1).time(50)
    return replace(costs, wait=max(0.0, (alone - simulated) / (costs.script.steps + 1)))


REPRODUCED: Final[tuple[tuple[str, str, Callable[[Outcome], float]], ...]] = (
    ("sessions per second", "sessions per second (more is better)", lambda outcome: outcome.rate),
    ("time per session, p50, s", "time per session, p50", lambda outcome: outcome.time(50)),
    ("delta lag p50, ms", "delta lag p50", lambda outcome: outcome.lag(50) * 1000),
    ("delta lag p99, ms", "delta lag p99", lambda outcome: outcome.lag(99) * 1000),
)


def reproduced(found: Results, stand: str) -> list[tuple[int, str, float, float]]:
    """(sessions at once, what, measured, simulated) of each point that was measured."""
    costs = calibrated(found, stand)
    if costs is None:
        return []
    points: list[tuple[int, str, float, float]] = []
    for at_once in (one for one in CROWDS if one in found.parts(stand, "crowd")):
        outcome = crowd(costs, machine_of(costs), at_once)
        for what, figure, of in REPRODUCED:
            measured = found.value(stand, f"crowd-{at_once}", figure)
            if measured is not None:
                points.append((at_once, what, measured, of(outcome)))
    return points


def _reproduction(found: Results) -> str:
    rows = ["| stand | sessions at once | what | measured | load before | simulated | error |", f"|{'---|' * 7}"]
    for stand in WAYS:
        for at_once, what, measured, simulated in reproduced(found, stand):
            error = (simulated - measured) / measured if measured else 0.0
            load = found.runs[f"{stand} crowd-{at_once}"]["loadBefore"]
            cells = (stand, f"{at_once}", what, short(measured), f"{load}", short(simulated), f"{error:+.0%}")
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def tables(found: Results) -> dict[str, str]:
    """Every table of the page, by the name of its mark."""
    stand = "apart" if calibrated(found, "apart") else "embedded"
    costs = calibrated(found, stand)
    if costs is None:
        return {"reproduction": "Not measured yet."}
    counted = {what: found.value(stand, "costs", what) or 0.0 for what in _counted(found, stand)}
    return {
        "costs": plan.costs_table(stand, costs, counted),
        "reproduction": _reproduction(found),
        "first": plan.first_table(costs, counted),
        "demand": plan.demand_table(costs, counted),
        "simulated": plan.simulated_table(costs),
    }


def written(page: str, made: dict[str, str]) -> str:
    """The page with its tables as they are made now."""
    return _MARKS.sub(lambda mark: f"{mark[1]}\n{made.get(mark[2], 'Not measured yet.')}\n\n{mark[3]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description="What more sessions take.")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results of `python -m bench`")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    options = parser.parse_args()
    made = tables(results.read(options.json))
    if options.write:
        options.write.write_text(written(options.write.read_text(), made))
        return
    for name, table in made.items():
        sys.stdout.write(f"{name}\n\n{table}\n\n")


if __name__ == "__main__":
    main()
