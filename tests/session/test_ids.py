"""Claims about identifiers (CONTRACT §1)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from session.ids import RANDOM_BYTES, make_id

TIMES = st.integers(0, 2**48 - 1)
RANDOMS = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(TIMES, RANDOMS, TIMES, RANDOMS)
def test_ids_sort_by_their_time(one: int, noise: bytes, other: int, more: bytes) -> None:
    first, second = make_id("sess", one, noise), make_id("sess", other, more)
    if one != other:
        assert (first < second) == (one < other)


@given(TIMES, RANDOMS)
def test_ids_are_url_safe_and_all_of_one_length(now: int, noise: bytes) -> None:
    assert re.fullmatch(r"conv_[0-9a-z]{26}", make_id("conv", now, noise))


@given(TIMES, RANDOMS, RANDOMS)
def test_different_randomness_gives_different_ids(now: int, noise: bytes, more: bytes) -> None:
    assert (make_id("msg", now, noise) == make_id("msg", now, more)) == (noise == more)
