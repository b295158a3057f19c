"""Reading diffs: whatever a program writes is made again, whatever else is given is read or refused."""

import difflib
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from activities.tools.hunks import applied, fitted
from activities.tools.patch import Malformed, parsed

LINES = st.lists(st.sampled_from(["", "a", "b", "c", "- d", "-- e", "++ f", "@@ g", "\tx"]), max_size=25)


@given(LINES, LINES, st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_any_change_that_diff_writes_down_is_made_again(old: list[str], new: list[str], context: int) -> None:
    if old == new or not old or not new:
        return
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    diff = "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a/f", "b/f", n=context))
    (patch,) = parsed(diff)
    places, wrong = fitted(before, patch.hunks, lambda: None)
    assert not wrong and applied(before, places) == after


@given(st.text(alphabet='@-+ ab/\\\n\t"12,dif', max_size=200))
@settings(max_examples=200, deadline=None)
def test_whatever_is_given_as_a_diff_is_read_or_refused(text: str) -> None:
    with suppress(Malformed):
        assert parsed("--- a/f\n+++ b/f\n" + text)[0].name
