"""The time-skipping server (from a wheel, no download) and a worker whose activities are played under their real names."""

from __future__ import annotations

import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

TEST_SERVER = str(Path(sysconfig.get_path("scripts")) / "temporal-test-server")


@pytest_asyncio.fixture(loop_scope="function")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=TEST_SERVER) as environment:
        yield environment


@pytest.fixture(params=[1000, 0], ids=["cached", "cache 0"])
def cache(request: pytest.FixtureRequest) -> int:
    """Every workflow test runs with the cache at 0 too, so that every workflow task replays from the beginning."""
    return int(request.param)


@pytest.fixture
def client(skipping: WorkflowEnvironment) -> Client:
    return skipping.client
