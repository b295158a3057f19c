"""How several processes share the tests (`make test` runs three; a test id must be the same in each of them).

What takes longest begins first, so that none is left working alone at the end. All that start and kill processes stay
in one of them: two topologies that start at once on two cores take so long that what is measured says nothing.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

FIRST: Final = ("chaos", "slow")
CHAOS: Final = "tests/survival/"
CALM: Final = tuple(f"tests/survival/test_{name}.py" for name in ("chaos_checks", "proxy", "rolling_deploy"))
"""They start topologies too, but nothing in them depends on how long something takes."""


class _OneLane(LoadScopeScheduling):  # type: ignore[misc]  # shipped without types
    """Every test goes to the next process that is free, but those of CHAOS go to one together.

    The mark `xdist_group` would say the same, but pytest-xdist 3.8 writes it where pytest 9.2 no longer reads it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return CHAOS if nodeid.startswith(CHAOS) and not nodeid.startswith(CALM) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneLane:
    return _OneLane(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last, when the folders have marked their tests; otherwise they keep their order."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return next((at for at, name in enumerate(FIRST) if item.get_closest_marker(name)), len(FIRST))
