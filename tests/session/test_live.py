"""Claims about the live tail: ids, fences, bounds, and what a late joiner is told (CONTRACT §3, DESIGN §3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.live import KEEP_BYTES, KEEP_DELTAS, Frame, Position, StoredFact, Tail, model_scope, tool_scope


def fact(offset: int, closes: str = "", attempt: int = 0) -> StoredFact:
    return StoredFact(offset, "kind", f"fact {offset}", closes, attempt)


def ids(frames: list[Frame]) -> list[str]:
    return [str(frame.at) for frame in frames]


def begun(offset: int = 3, step: int = 1, attempt: int = 1) -> Tail:
    tail = Tail()
    tail.see_fact(fact(offset, model_scope(step), attempt))
    return tail


def told(tail: Tail, scope: str, attempt: int = 1, text: str = "x") -> str | None:
    frame = tail.see_delta(scope, attempt, text)
    return None if frame is None else str(frame.at)


@pytest.mark.parametrize(
    ("text", "position"),
    [("0", (0, 0)), ("1", (1, 0)), ("12", (12, 0)), ("12.3", (12, 3)), ("0.1", (0, 1)), ("9" * 15, (10**15 - 1, 0))],
)
def test_a_good_id_is_read_and_written_the_same(text: str, position: tuple[int, int]) -> None:
    assert Position.parse(text) == position
    assert str(Position(*position)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1.", ".1", "1.0", "01", "1.01", "+1", "-1", " 1", "1 ", "1\n", "1.2.3", "1e3", "1_0", "٣", "1.²"),
        *("x", "9" * 16, "1." + "9" * 16, "0x1", "1,2"),
    ],
)
def test_anything_else_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not an event id"):
        Position.parse(text)


def test_positions_order_facts_and_the_deltas_between_them() -> None:
    assert Position(3) < Position(3, 1) < Position(3, 2) < Position(3, 10) < Position(4)


def test_deltas_are_numbered_after_the_last_fact() -> None:
    tail = begun(3)
    assert [told(tail, model_scope(1)) for _ in range(3)] == ["3.1", "3.2", "3.3"]
    tail.see_fact(fact(4))
    assert told(tail, model_scope(1)) == "4.1"


def test_a_delta_before_any_fact_is_dropped_since_its_id_would_be_false() -> None:
    assert told(Tail(), model_scope(1)) is None


def test_a_fact_is_passed_on_once() -> None:
    tail = Tail()
    assert tail.see_fact(fact(3)) == Frame(Position(3), "fact 3")
    assert tail.see_fact(fact(3)) is None
    assert tail.see_fact(fact(2)) is None
    assert tail.last == 3


def test_the_fact_that_holds_the_deltas_takes_them_away_and_bars_the_late_ones() -> None:
    tail = begun(3)
    told(tail, model_scope(1))
    told(tail, tool_scope(1, "a"))
    tail.see_fact(fact(4, model_scope(1)))
    assert ids(tail.kept()) == ["3.2"]
    assert told(tail, model_scope(1)) is None
    assert told(tail, tool_scope(1, "a")) == "4.1"
    tail.see_fact(fact(5, tool_scope(1, "a")))
    assert tail.kept() == []
    assert told(tail, tool_scope(1, "a")) is None
    assert told(tail, tool_scope(1, "b")) == "5.1"


def test_a_new_attempt_drops_what_the_older_one_said_and_says() -> None:
    tail = begun(3)
    told(tail, model_scope(1), 1)
    tail.see_fact(fact(4, model_scope(1), 2))
    assert tail.kept() == []
    assert told(tail, model_scope(1), 1) is None
    assert told(tail, model_scope(1), 2) == "4.1"


def test_an_attempt_that_was_not_announced_here_yet_is_heard() -> None:
    assert told(begun(3, attempt=1), model_scope(1), 2) == "3.1"


def test_a_repeated_announcement_does_not_take_away_what_came_since() -> None:
    tail = begun(3)
    told(tail, model_scope(1))
    tail.see_fact(fact(3, model_scope(1), 1))
    assert ids(tail.kept()) == ["3.1"]


def test_after_a_reset_attempts_count_from_one_again() -> None:
    tail = begun(3)
    tail.see_fact(fact(4, model_scope(1), 3))
    told(tail, model_scope(1), 3)
    tail.see_fact(fact(5, model_scope(1), 1))
    assert tail.kept() == []
    assert told(tail, model_scope(1), 1) == "5.1"


def test_a_closing_fact_reported_late_still_closes_and_an_old_announcement_does_not_reopen() -> None:
    tail = begun(3)
    told(tail, model_scope(1))
    assert tail.see_fact(fact(6)) is not None
    assert tail.see_fact(fact(5, model_scope(1))) is None
    assert tail.kept() == []
    tail.see_fact(fact(4, model_scope(1), 2))
    assert told(tail, model_scope(1), 2) is None


def test_what_comes_from_an_earlier_step_is_dropped() -> None:
    tail = begun(3)
    told(tail, tool_scope(1, "a"))
    tail.see_fact(fact(4, model_scope(2), 1))
    assert tail.kept() == []
    assert told(tail, model_scope(1), 5) is None
    assert told(tail, tool_scope(1, "a")) is None
    assert told(tail, model_scope(2)) == "4.1"


def test_a_late_joiner_gets_the_kept_deltas_in_order_with_facts_between_them() -> None:
    tail = begun(3)
    told(tail, tool_scope(1, "a"))
    told(tail, tool_scope(1, "b"))
    tail.see_fact(fact(4, tool_scope(1, "b")))
    told(tail, tool_scope(1, "a"))
    assert ids(tail.kept()) == ["3.1", "4.1"]


def test_the_tail_is_bounded_in_number_and_size_and_forgets_the_oldest() -> None:
    tail = begun(3)
    for _ in range(KEEP_DELTAS + 10):
        told(tail, model_scope(1))
    assert len(tail.kept()) == KEEP_DELTAS
    assert str(tail.kept()[0].at) == "3.11"
    for _ in range(5):
        told(tail, model_scope(1), text="x" * (KEEP_BYTES // 3))
    assert sum(len(frame.text) for frame in tail.kept()) <= KEEP_BYTES
    assert str(tail.kept()[-1].at) == f"3.{KEEP_DELTAS + 15}"


def test_a_scope_may_speak_again_after_it_was_forgotten_by_size() -> None:
    tail = begun(3)
    told(tail, model_scope(1), text="x" * (KEEP_BYTES + 1))
    assert tail.kept() == []
    told(tail, model_scope(1))
    assert ids(tail.kept()) == ["3.2"]


SCOPES = st.sampled_from([(step, tool) for step in (1, 2, 3) for tool in ("", "a", "b")])
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["fact", "close", "announce", "delta", "delta", "again", "late"]), SCOPES, st.integers(1, 3)
    ),
    max_size=60,
)


@given(MOVES)
def test_any_interleaving_gives_increasing_positions_and_nothing_for_a_closed_scope(
    moves: list[tuple[str, tuple[int, str], int]],
) -> None:
    tail, out, closed, skipped = Tail(), [], set[str](), list[StoredFact]()
    offset, said = 0, None
    for kind, (step, tool), attempt in moves:
        scope = tool_scope(step, tool) if tool else model_scope(step)
        if kind == "delta":
            frame = tail.see_delta(scope, attempt, "x")
            assert frame is None or scope not in closed
        elif kind == "again":
            frame = tail.see_fact(said) if said is not None else None
        elif kind == "late" and skipped:
            late = skipped.pop()
            frame = tail.see_fact(late)
            closed.add(late.closes)
        else:
            offset += 1
            if kind == "late":
                skipped.append(fact(offset, scope))
                continue
            closes = {"fact": "", "close": scope, "announce": model_scope(step)}[kind]
            said = fact(offset, closes, attempt if kind == "announce" else 0)
            frame = tail.see_fact(said)
            if kind == "close":
                closed.add(scope)
            elif kind == "announce":
                closed.discard(model_scope(step))
        out += [frame.at] if frame else []
        kept = [frame.at for frame in tail.kept()]
        assert kept == sorted(set(kept))
        assert set(kept) <= set(out)
    assert out == sorted(set(out))
