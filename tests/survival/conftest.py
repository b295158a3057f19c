"""One `serve` and one split topology for the tests that kill nothing; the others make their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.survival.topology import Topology, split, whole

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They start processes, take seconds, and share one loop with the topologies."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def serve(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Topology]:
    async with whole(tmp_path_factory.mktemp("serve")) as topology:
        yield topology


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Topology]:
    async with split(tmp_path_factory.mktemp("apart")) as topology:
        yield topology
