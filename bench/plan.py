"""What so many sessions a minute take of each part, computed from the costs of one.

Measured: CPU by part, Temporal's events and bytes, rows, transactions, log bytes, bus commands and bytes. Assumed is
what one machine of each kind can do, in `ASSUMED`: put in what yours can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from bench.figures import short
from bench.simulation import Costs, Machine, arriving

RATES: Final = (1_000, 100_000)
"""Sessions a minute."""
USE: Final = 0.6
"""Of a core's or a server's time, so that queues stay short."""
SERVER_CORES: Final = 16
"""Of a machine for PostgreSQL or Temporal."""
ASSUMED: Final[Mapping[str, float]] = {
    "history events a second, one Temporal shard": 100.0,
    "transactions a second, one PostgreSQL primary": 20_000.0,
    "log bytes a second, one PostgreSQL primary": 100e6,
    "commands a second, one Valkey": 100_000.0,
    "bytes a second, one Valkey": 500e6,
    "streams, one API process": 5_000.0,
    "running sessions, one worker process": 500.0,
}
"""Not measured here. A worker's is its slots for activities (worker.py)."""
SIMULATED_SECONDS: Final = 12.0
PARTS: Final = ("perdure", "worker", "api", "temporal", "postgres", "valkey")
ONE_CORE: Final = frozenset({"perdure", "worker", "api", "valkey"})


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cpu_of(costs: Costs, part: str) -> float:
    """CPU seconds of a session with its deltas."""
    deltas = costs.script.steps * costs.script.tokens
    return costs.control.get(part, 0.0) + costs.delta.get(part, 0.0) * deltas


def seconds_of(costs: Costs) -> float:
    """How long a session lasts where nothing is queued."""
    script = costs.script
    control = sum(costs.control.values()) + costs.wait * (script.steps + 1)
    return control + script.steps * (script.first + script.pace * max(0, script.tokens - 1))


def costs_table(stand: str, costs: Costs, counted: Mapping[str, float]) -> str:
    """What one session of the measured kind costs."""
    rows = [
        [f"CPU of {part}", f"{cpu_of(costs, part):.3f} s", f"{costs.control[part]:.3f} s without deltas"]
        for part in PARTS
        if part in costs.control
    ]
    rows += [[what, f"{value:,.0f}", "counted"] for what, value in counted.items() if not what.startswith("CPU of ")]
    return _table([f"per session ({stand})", "", ""], rows)


def capacities(costs: Costs, counted: Mapping[str, float]) -> list[tuple[float, str, str]]:
    """(sessions a minute, part, what runs out) of one instance of each part, what runs out first at the head."""
    found: list[tuple[float, str, str]] = []
    for part in PARTS:
        cpu = cpu_of(costs, part)
        if cpu:
            cores = 1 if part in ONE_CORE else SERVER_CORES
            found.append((60 * USE * cores / cpu, part, f"CPU: {cores} core{'s' if cores > 1 else ''} at {USE:.0%}"))
    counts = (
        ("temporal", "Temporal events", "history events a second, one Temporal shard"),
        ("postgres", "store transactions", "transactions a second, one PostgreSQL primary"),
        ("postgres", "store log bytes", "log bytes a second, one PostgreSQL primary"),
        ("valkey", "bus commands", "commands a second, one Valkey"),
    )
    for part, what, limit in counts:
        if counted.get(what):
            found.append((60 * USE * ASSUMED[limit] / counted[what], part, f"{ASSUMED[limit]:,.0f} {limit}"))
    slots = ASSUMED["running sessions, one worker process"]
    found.append((60 * USE * slots / seconds_of(costs), "worker", f"{slots:,.0f} running sessions, one worker process"))
    return sorted(found)


def first_table(costs: Costs, counted: Mapping[str, float]) -> str:
    """Which part saturates first, one instance of each."""
    rows = [[f"{rate:,.0f}", part, why] for rate, part, why in capacities(costs, counted)]
    return _table(["sessions a minute", "part", "what runs out"], rows)


def instances(costs: Costs, counted: Mapping[str, float], per_minute: float) -> dict[str, int]:
    """Processes of API, worker and bus, machines of PostgreSQL and Temporal, by the scarcest of what each has."""
    needed: dict[str, int] = {}
    for rate, part, why in capacities(costs, counted):
        if "shard" not in why:  # shards are not machines
            needed[part] = max(needed.get(part, 1), math.ceil(per_minute / rate))
    return needed


def demand_table(costs: Costs, counted: Mapping[str, float]) -> str:
    """What each rate takes, per second and in instances."""

    def row(what: str, each: float, unit: str = "") -> list[str]:
        return [what, *(f"{short(each * rate / 60)}{unit}" for rate in RATES)]

    events = counted.get("Temporal events", 0.0)
    shard = ASSUMED["history events a second, one Temporal shard"] * USE
    rows = [
        row("sessions a second", 1),
        row("running at once", seconds_of(costs)),
        *(row(f"cores of {part}, busy", cpu_of(costs, part)) for part in PARTS if cpu_of(costs, part)),
        *(
            [f"{part}: {'processes' if part in ONE_CORE else f'machines of {SERVER_CORES} cores'}"]
            + [f"{instances(costs, counted, rate).get(part, 0):,}" for rate in RATES]
            for part in PARTS
            if cpu_of(costs, part)
        ),
        row("Temporal actions a second", counted.get("Temporal actions", 0.0)),
        row("Temporal history, MB/s", counted.get("Temporal history bytes", 0.0) / 1e6),
        ["Temporal history shards, at least", *(f"{_power(events * rate / 60 / shard):,}" for rate in RATES)],
        *(
            row(told, counted[what] / scale)
            for what, told, scale in (
                ("store transactions", "store transactions a second", 1.0),
                ("store rows inserted", "store rows inserted a second", 1.0),
                ("store log bytes", "store log, MB/s", 1e6),
                ("store bytes kept", "store grows, GB a day", 1e9 / 86_400),
                ("bus commands", "bus commands a second", 1.0),
                ("bus bytes out", "bus bytes out, MB/s", 1e6),
            )
            if what in counted
        ),
        row("sent to readers (one each), MB/s", counted.get("bytes sent to a reader", 0.0) / 1e6),
    ]
    return _table(["", *(f"{rate:,} a minute" for rate in RATES)], rows)


def _power(number: float) -> int:
    """The next power of two: shard counts are chosen once, for the largest load to come."""
    return 1 << max(0, math.ceil(math.log2(max(1.0, number))))


def simulated_table(costs: Costs) -> str:
    """1,000 sessions a minute, arriving evenly, on more and more processes: where queues vanish."""
    rows = []
    begins = [at * 60 / RATES[0] for at in range(round(RATES[0] / 60 * SIMULATED_SECONDS))]
    for processes in (2, 4, 8):
        machine = Machine(10_000, {part: _many(part, processes) for part in costs.control})
        outcome = arriving(costs, machine, begins)
        rows.append(
            [
                f"{processes}",
                f"{outcome.time(50):.1f} s",
                f"{outcome.time(99):.1f} s",
                f"{short(outcome.lag(50) * 1000)} ms",
                f"{short(outcome.lag(99) * 1000)} ms",
            ]
        )
    heads = ["processes of worker and of API", "time p50", "time p99", "delta lag p50", "delta lag p99"]
    return _table(heads, rows)


def _many(part: str, processes: int) -> int:
    if part in ("perdure", "worker", "api"):
        return processes
    return 1_000 if part in ("model", "client") else 1 if part == "valkey" else SERVER_CORES
