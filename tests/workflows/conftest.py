"""The servers of the workflow tests, both from wheels: a real one, and the time-skipping one for the long waits."""

from __future__ import annotations

import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from cli.embedded import EmbeddedTemporal

TEST_SERVER = str(Path(sysconfig.get_path("scripts")) / "temporal-test-server")


@pytest_asyncio.fixture(loop_scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=TEST_SERVER) as environment:
        yield environment


@pytest.fixture(params=[1000, 0], ids=["cached", "cache 0"])
def cache(request: pytest.FixtureRequest) -> int:
    """Every workflow test runs with the cache at 0 too, so that every workflow task replays from the beginning."""
    return int(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A real Temporal server: what is cancelled there behaves as it does in earnest."""
    async with EmbeddedTemporal(tmp_path_factory.mktemp("temporal")) as temporal:
        yield await Client.connect(temporal.address)
