"""Cancel and timeout stop the spending within two seconds (G5), in one process tree and with the parts apart."""

from __future__ import annotations

import pytest

from tests.survival.stops import BOUND_SECONDS, KINDS, measure
from tests.survival.topology import Topology

TRIES = 3


@pytest.mark.parametrize("kind", KINDS)
async def test_in_one_process_tree(serve: Topology, kind: str) -> None:
    await _stops_in_time(serve, kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_with_worker_and_api_apart_and_no_bus_between_them(apart: Topology, kind: str) -> None:
    await _stops_in_time(apart, kind)


async def _stops_in_time(topology: Topology, kind: str) -> None:
    """Within the bound at least once: the machine may be busy with other tests, but not every time."""
    tried = []
    for _ in range(TRIES):
        found = await measure(topology, kind, 3, together=3)
        assert not found.verdict.broken, found.verdict.broken
        if found.worst < BOUND_SECONDS:
            return
        tried.append(found)
    pytest.fail(str(tried))
