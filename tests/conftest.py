"""The order of all tests: what takes longest begins first, so that of several processes none is left working alone."""

from __future__ import annotations

from typing import Final

import pytest

FIRST: Final = ("chaos", "slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last, when the folders have marked their tests; otherwise they keep their order."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return next((at for at, name in enumerate(FIRST) if item.get_closest_marker(name)), len(FIRST))
