"""One real stack for all tests of the API: embedded Temporal, store, worker, API under uvicorn, a scripted model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from cli.embedded import EmbeddedTemporal
from fake_model.serve import Running, running
from session.wire import SEARCH_ATTRIBUTES
from tests.support.stack import Stack, running_stack

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests run in the loop that the stack runs in."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fake() -> AsyncIterator[Running]:
    async with running(keep_bodies=True) as model:
        yield model


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    async with EmbeddedTemporal(tmp_path_factory.mktemp("temporal"), SEARCH_ATTRIBUTES) as embedded:
        yield embedded


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(temporal: EmbeddedTemporal) -> Client:
    return await Client.connect(temporal.address)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(client: Client, fake: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(client, fake.url, tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def http(stack: Stack) -> httpx.AsyncClient:
    return stack.http
