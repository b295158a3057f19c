"""docker/haproxy.cfg with the real HAProxy in front of real APIs: nothing is held back, and a killed API's readers find
the other one with their last id.

Of the file only the addresses are replaced: where it listens, and the two APIs in the place of the name that containers
have. `.ci/run` installs HAProxy; where it is missing this fails, and says so.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from cli.start_dev import HOST, free_ports
from tests.survival.cluster import Cluster, cluster
from tests.survival.part import ROOT
from tests.survival.reader import Reader, get, start
from tests.survival.scripts import busy_session, task
from tests.survival.topology import add

CONFIG = (ROOT / "docker" / "haproxy.cfg").read_text()
READERS = re.compile(r"^perdure_stream_readers (\d+)", re.MULTILINE)
PAGE = (ROOT / "docs" / "production.md").read_text()
METRIC = re.compile(r"`((?:perdure|temporal)_[a-z_]+)`")


def proxied(parts: Cluster, port: int) -> str:
    """The proxy's configuration for this topology."""
    servers = "\n".join(f"    server {name} {parts.url_of(name).removeprefix('http://')}" for name in parts.apis)
    text, listens = re.subn(r"^ +bind :3000$", f"    bind {HOST}:{port}", CONFIG, flags=re.MULTILINE)
    text, named = re.subn(r"^ +server-template .*$", servers, text, flags=re.MULTILINE)
    assert (listens, named) == (1, 1)
    return text


@asynccontextmanager
async def behind_the_proxy() -> AsyncIterator[tuple[Cluster, str]]:
    """Two APIs and a worker, and the proxy's address."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.fail("HAProxy is not installed (Debian: apt-get install haproxy)")
    with tempfile.TemporaryDirectory(prefix="perdure-proxy-", ignore_cleanup_errors=True) as scratch:
        more = {"PERDURE_WORKER_PORT": str(free_ports(usual=False)[0])}
        async with cluster(Path(scratch), workers=1, more=more) as parts:
            measured = f"{HOST}:{free_ports(usual=False)[0]}"
            parts.add_worker("worker2", PERDURE_TEMPORAL_METRICS=measured, PERDURE_WORKER_PORT="0")
            await parts.restart("worker2")
            parts.others["worker2"] = f"http://{measured}"
            parts.others["worker"] = f"http://{HOST}:{more['PERDURE_WORKER_PORT']}"
            port = free_ports(usual=False)[0]
            config = parts.folder / "haproxy.cfg"
            config.write_text(proxied(parts, port))
            add(parts, "proxy", [program, "-db", "-f", str(config)], {"PATH": "/usr/bin"})
            parts.start("proxy")
            url = f"http://{HOST}:{port}"
            async with asyncio.timeout(30):
                await get(parts.http, f"{url}/health/ready")
            yield parts, url


async def readers(http: httpx.AsyncClient, url: str) -> int:
    found = READERS.search((await http.get(f"{url}/metrics")).text)
    assert found is not None
    return int(found[1])


async def holder(parts: Cluster) -> str:
    """The API that has the one reader there is."""
    async with asyncio.timeout(20):
        while True:
            for name in parts.apis:
                if await readers(parts.http, parts.url_of(name)) == 1:
                    return name
            await asyncio.sleep(0.05)


async def test_streams_flow_through_the_proxy_and_outlive_the_api_that_served_them() -> None:
    async with behind_the_proxy() as (parts, url), asyncio.timeout(120):
        await _pieces_come_as_they_are_written(parts, url)
        await _a_reader_that_leaves_is_noticed(parts, url)
        await _a_killed_api_costs_its_readers_nothing(parts, url)
        await _the_worker_says_that_it_is_well(parts)
        await _the_page_names_metrics_that_there_are(parts, url)


async def _pieces_come_as_they_are_written(parts: Cluster, url: str) -> None:
    """Each frame is here soon after it was written, while the session goes on."""
    session = await start(parts.http, url, {"content": busy_session("82")}, "flow")
    reader = Reader(parts.http, url, session["id"])
    await reader.run()
    came = [one.at for one in reader.seen]
    late = max(one.at - one.event["timestamp"] / 1000 for one in reader.seen[2:])
    print(f"{len(came)} frames in {came[-1] - came[0]:.1f} s, the latest {late:.2f} s after it was written")
    assert late < (came[-1] - came[0]) / 2, "something held them back"
    assert reader.connections == 1


async def _a_reader_that_leaves_is_noticed(parts: Cluster, url: str) -> None:
    body = {"content": task([{"text": "word " * 400, "token_ms": 20}], "Done.")}
    session = await start(parts.http, url, body, "leave")
    async with parts.http.stream("GET", f"{url}/api/sessions/{session['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        held = await holder(parts)
    async with asyncio.timeout(10):
        while await readers(parts.http, parts.url_of(held)):
            await asyncio.sleep(0.05)
    await parts.http.post(f"{url}/api/sessions/{session['id']}/cancel", json={})


async def _a_killed_api_costs_its_readers_nothing(parts: Cluster, url: str) -> None:
    session = await start(parts.http, url, {"content": busy_session("83")}, "killed")
    reader = Reader(parts.http, url, session["id"])
    reading = asyncio.create_task(reader.run())
    async with asyncio.timeout(20):
        while len(reader.facts) < 3:
            await asyncio.sleep(0.02)
    parts.kill(await holder(parts))
    async with asyncio.timeout(60):
        await reading
    assert reader.connections > 1
    assert [int(one.id) for one in reader.facts] == list(range(1, len(reader.facts) + 1)), "no fact lost, none doubled"
    assert [one.type for one in reader.facts[-3:]] == ["summary", "complete", "message_saved"]
    assert not reader.refusals, "the proxy sent nobody to an API that was gone"


async def _the_worker_says_that_it_is_well(parts: Cluster) -> None:
    for path in ("live", "ready"):
        assert (await parts.http.get(f"{parts.url_of('worker')}/health/{path}")).status_code == 200


async def _the_page_names_metrics_that_there_are(parts: Cluster, url: str) -> None:
    """docs/production.md says what to watch."""
    told = (await parts.http.get(f"{url}/metrics")).text
    told += (await parts.http.get(f"{parts.url_of('worker2')}/metrics")).text
    named = set(METRIC.findall(PAGE))
    assert named
    assert {name for name in named if f"# TYPE {name}" not in told} == set()
