"""Fusion: places count, scores do not."""

from session.fusion import fused


def test_what_both_rank_high_comes_first_and_the_best_possible_is_1() -> None:
    assert list(fused([[1, 2, 3], [2, 4, 1]])) == [2, 1, 4, 3]
    assert fused([[5, 6], [5]])[5] == 1
    assert fused([[], [7]]) == {7: 0.5}
    assert fused([[], []]) == {}
