"""Two APIs and a worker over one store, joined by a Valkey bus: a reader may go from one API to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from api.app import create_app
from api.parts import Parts
from fake_model.serve import Running
from store import Store
from store.valkey import ValkeyBus
from tests.support.asking import following, get, start
from tests.support.events import the
from tests.support.stack import http_client, running_stack, served, working
from tests.support.turns import script, slowly
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apis(
    client: Client, fake: Running, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Each of the three has a bus of its own, as processes would; the database is shared for the loop's sake."""
    async with AsyncExitStack() as exits:
        folder = tmp_path_factory.mktemp("two")
        bus = ValkeyBus(valkey.url)
        first = await exits.enter_async_context(running_stack(client, fake.url, folder, has_worker=False, bus=bus))
        of_worker, of_second = (Store.over(first.store.database, ValkeyBus(valkey.url)) for _ in range(2))
        exits.push_async_callback(of_worker.bus.close)
        exits.push_async_callback(of_second.bus.close)
        await exits.enter_async_context(working(first.settings, of_worker, client, first.task_queue))
        app = create_app(first.settings, of_second, client, task_queue=first.task_queue)
        url = await exits.enter_async_context(served(app))
        parts: Parts = app.state.parts
        exits.callback(parts.feeds.close)
        yield first.http, await exits.enter_async_context(http_client(url))


async def test_a_reader_goes_from_one_api_to_the_other_in_a_step_and_misses_and_repeats_nothing(
    apis: tuple[httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    a, b = apis
    session = await start(a, script(slowly(2, pieces=200)))
    async with following(b, session["id"]) as on_b:
        await on_b.until(lambda event: event.id == "3.20")
    seen = on_b.events
    async with following(a, session["id"], **{"Last-Event-ID": seen[-1].id}) as on_a:
        await on_a.until(lambda event: event.id == "3.60")
        async with following(b, session["id"], **{"Last-Event-ID": "3.50"}) as back:
            await back.until(lambda event: event.id == "3.80")
        rest = await on_a.rest()
    whole = [*seen, *rest]
    assert len({event.id for event in whole}) == len(whole), "nothing comes twice"
    deltas = [event for event in whole if "." in event.id]
    assert [event.id for event in deltas] == [f"3.{n}" for n in range(1, len(deltas) + 1)], "and none is missing"
    assert "".join(event.data["delta"] for event in deltas) == the(whole, "content")["text"]
    again = {event.id: event.raw for event in back.events}
    assert min(again) == "3.51" and again.items() <= {event.id: event.raw for event in whole}.items()


async def test_metrics_say_whether_the_bus_works_and_what_it_dropped(
    apis: tuple[httpx.AsyncClient, httpx.AsyncClient], valkey: Valkey
) -> None:
    async def told() -> dict[str, float]:
        lines = [line for line in (await apis[0].get("/metrics")).text.splitlines() if line.startswith("perdure_bus")]
        return {name: float(value) for name, value in (line.split() for line in lines)}

    assert await told() == {"perdure_bus_up": 1, "perdure_bus_dropped": 0}
    valkey.kill()
    assert (await told())["perdure_bus_up"] == 0
    assert (await get(apis[0], "/health/live"))["status"] == "live"
    valkey.start()
