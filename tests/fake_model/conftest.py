from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic

from fake_model.serve import Running, running


@pytest.fixture
async def fake() -> AsyncIterator[Running]:
    async with running(keep_bodies=True) as serving:
        yield serving


@pytest.fixture
async def client(fake: Running) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key="a key", base_url=fake.url, max_retries=0) as opened:
        yield opened
