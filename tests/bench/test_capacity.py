"""The simulation keeps its own rules and comes to what was measured; the plan follows from the costs, and the page says
what they say."""

import re
from pathlib import Path

import pytest

from bench import capacity, plan, results
from bench.simulation import Costs, Machine, Script, arriving, crowd

PAGE = Path(__file__).parents[2] / "docs" / "capacity.md"
POINT = re.compile(r"\| \w+ \| \d+ \|.*% \|$")
SCRIPT = Script(steps=2, first=0.5, pace=0.1, tokens=3)
ONE_EACH = {"worker": 1, "model": 1}


def test_a_session_alone_takes_the_models_time_and_its_own() -> None:
    costs = Costs({"worker": 0.3}, {"model": 0.0, "worker": 0.0}, wait=0.1, script=SCRIPT)
    outcome = crowd(costs, Machine(2, ONE_EACH), 1)
    # Two replies of 0.5 + 2 x 0.1 s, three units of waiting, the CPU once.
    assert outcome.times == [pytest.approx(2 * 0.7 + 3 * 0.1 + 0.3)]
    assert outcome.busy["worker"] == pytest.approx(0.3)
    assert len(outcome.lags) == 6


def test_a_crowd_goes_as_fast_as_its_busiest_part_and_the_cores_let_it() -> None:
    costs = Costs({"worker": 0.2, "temporal": 0.2}, {"model": 0.0, "worker": 0.0}, script=SCRIPT)
    parts = {**ONE_EACH, "temporal": 4}
    assert crowd(costs, Machine(4, parts), 200).rate == pytest.approx(1 / 0.2, rel=0.1)
    assert crowd(costs, Machine(1, parts), 200).rate == pytest.approx(1 / 0.4, rel=0.1)


def test_deltas_that_wait_together_are_taken_together() -> None:
    script = Script(steps=1, first=0.0, pace=0.0, tokens=100)
    outcome = crowd(Costs({}, {"model": 0.0, "worker": 0.01}, script=script), Machine(2, ONE_EACH), 1)
    assert 0.01 * 40 <= outcome.busy["worker"] < 0.01 * 60
    assert len(outcome.lags) == 100


def test_a_part_that_has_time_left_makes_nobody_wait() -> None:
    costs = Costs({"worker": 0.01}, {"model": 0.0, "worker": 0.0}, script=SCRIPT)
    outcome = arriving(costs, Machine(2, ONE_EACH), [number * 0.5 for number in range(20)])
    assert outcome.time(100) - outcome.time(50) < 0.02


def test_the_simulation_comes_to_the_rates_and_times_that_were_measured() -> None:
    """As the page says, which the next test holds against a simulation."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if POINT.match(line)]
    held = [(stand, int(crowd), what, int(error.rstrip("%"))) for stand, crowd, what, *_, error in rows]
    held = [point for point in held if "lag" not in point[2]]
    assert {point[0] for point in held} == set(capacity.WAYS) and {point[1] for point in held} == set(capacity.CROWDS)
    wrong = [point for point in held if abs(point[3]) > 100 * capacity.TOLERANCE]
    assert not wrong, wrong


@pytest.mark.slow
def test_the_page_says_what_the_results_say_now() -> None:
    made = capacity.tables(results.read(capacity.RESULTS))
    page = PAGE.read_text()
    assert capacity.written(page, made) == page, "run: python -m bench.capacity --write docs/capacity.md"
    assert page.count("<!-- end -->") == len(made)


def test_what_runs_out_first_is_what_needs_most_instances() -> None:
    costs = Costs({"worker": 0.1, "postgres": 0.001}, {"model": 0.0, "worker": 0.0})
    counted = {"store transactions": 10.0}  # more than one primary's, at 100,000 a minute
    least = [part for _, part, _ in plan.capacities(costs, counted)]
    assert least[0] == "worker"
    needed = plan.instances(costs, counted, 100_000)
    assert needed["worker"] == pytest.approx(100_000 / 60 * 0.1 / plan.USE, abs=1)
    assert needed["postgres"] == 2
