"""Fair order, as rules that hold for every line and every set of limits."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from session.admission import Candidate, admitted
from session.policy import AdmissionPolicy

KEYS = st.sampled_from("abc")
LINES = st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=25).map(
    lambda made: [Candidate(f"s{number:02}", key, since) for number, (key, since) in enumerate(made)]
)
RUNNING = st.dictionaries(KEYS, st.integers(0, 6))
LIMIT = st.none() | st.integers(1, 8)
POLICIES = st.builds(AdmissionPolicy, LIMIT, LIMIT)


@given(LINES, RUNNING, POLICIES)
def test_no_limit_is_exceeded_and_no_place_stays_free_that_somebody_could_take(
    line: list[Candidate], running: dict[str, int], policy: AdmissionPolicy
) -> None:
    chosen = admitted(line, running, policy)
    assert len({one.id for one in chosen}) == len(chosen)
    after = Counter(running) + Counter(one.key for one in chosen)
    assert not chosen or policy.running is None or after.total() <= policy.running
    for one in chosen:
        assert policy.running_per_key is None or after[one.key] <= policy.running_per_key
    is_full = policy.running is not None and after.total() >= policy.running
    for left in set(line) - set(chosen):
        assert is_full or (policy.running_per_key is not None and after[left.key] >= policy.running_per_key)


@given(LINES, RUNNING, POLICIES)
def test_each_place_goes_to_the_key_with_the_fewest_and_there_to_the_oldest(
    line: list[Candidate], running: dict[str, int], policy: AdmissionPolicy
) -> None:
    counts, left = Counter(running), list(line)
    for one in admitted(line, running, policy):
        may = [other for other in left if policy.running_per_key is None or counts[other.key] < policy.running_per_key]
        assert one == min(may, key=lambda other: (counts[other.key], other.age))
        counts[one.key] += 1
        left.remove(one)


def test_a_key_with_a_long_line_does_not_hold_up_another() -> None:
    line = [Candidate(f"a{number}", "a", number) for number in range(1000)] + [Candidate("b", "b", 5000)]
    assert [one.id for one in admitted(line, {"a": 1}, AdmissionPolicy(running=2))] == ["b"]
    assert [one.id for one in admitted(line, {"b": 1}, AdmissionPolicy(running=4))] == ["a0", "a1", "b"]
