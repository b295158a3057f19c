"""`python -m tests.workflows.record`: run representative sessions on the real stack and keep their Temporal histories.

The files in `histories/` are what the workflow must go on to replay (DESIGN §4). They hold control, no content (G7):
that is checked here before anything is written. Names of machines and processes are left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client

from cli.whereabouts import told
from tests.survival.reader import Reader, start
from tests.survival.scripts import task
from tests.survival.topology import Topology, whole

HISTORIES: Final = Path(__file__).with_name("histories")
SECRET: Final = "xyzzy"
"""Stands in everything that is said and done in these sessions, and may stand in no history."""

WORDS: Final = f"{SECRET} words " * 40
LOOK: Final = {"name": "search_files", "input": {"pattern": f"{SECRET}*"}}
RUN: Final = {"name": "exec", "input": {"command": f"echo {SECRET} in a file > {SECRET}.txt"}}
SLEEP: Final = {"name": "exec", "input": {"command": f"echo {SECRET}; sleep 20"}}
SLOW: Final = {"text_tokens": 2000, "token_ms": 10}

Meanwhile = Callable[[Topology, str], Awaitable[None]]


async def _nothing(topology: Topology, session_id: str) -> None: ...


def _cancel(mode: str) -> Meanwhile:
    async def cancel(topology: Topology, session_id: str) -> None:
        await _asked(topology, session_id)
        url = f"{topology.url}/api/sessions/{session_id}/cancel"
        answer = await topology.http.post(url, json={"mode": mode, "reason": SECRET})
        assert answer.status_code == 202, answer.text

    return cancel


async def _asked(topology: Topology, session_id: str) -> None:
    while not await topology.bought(session_id):
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


def _faulty(*faults: dict[str, Any]) -> dict[str, Any]:
    return {"text": WORDS, "faults": faults}


BUSY: Final = {"kind": "status", "code": 529, "retry_after": 0}
REFUSED: Final = {"kind": "status", "code": 400, "message": WORDS[:200]}

SESSIONS: Final[dict[str, tuple[list[dict[str, Any]], dict[str, Any], Meanwhile]]] = {
    "plain": ([{"text": WORDS, "tools": [RUN]}, {"text": WORDS}], {}, _nothing),
    "parallel-tools": ([{"text": WORDS, "tools": [RUN, LOOK, LOOK]}, {"tools": [LOOK]}, {"text": WORDS}], {}, _nothing),
    "cancel-now": ([{"text": WORDS, "tools": [SLEEP]}], {}, _cancel("now")),
    "cancel-model": ([SLOW], {}, _cancel("now")),
    "cancel-graceful": ([{"text": WORDS, "tools": [RUN], "token_ms": 40}, SLOW], {}, _cancel("graceful")),
    "timeout": ([{"tools": [SLEEP]}], {"timeoutSeconds": 1}, _nothing),
    "provider-error": ([_faulty(REFUSED)], {}, _nothing),
    "retry": ([_faulty(BUSY, {"kind": "cut"})], {}, _nothing),
    "max-steps": ([{"text": WORDS, "tools": [RUN]}], {"maxSteps": 1}, _nothing),
}


async def record(folder: Path) -> None:
    """Run every session of `SESSIONS` and write its history as `<name>.json`."""
    with tempfile.TemporaryDirectory(prefix="perdure-record-", ignore_cleanup_errors=True) as scratch:
        async with whole(Path(scratch)) as topology:
            where = told(topology.data_dir)
            assert where is not None, "the embedded Temporal did not say where it is"
            client = await Client.connect(where.address)
            for name, (turns, fields, meanwhile) in SESSIONS.items():
                text = await _history(topology, client, {"content": task(turns, WORDS), **fields}, name, meanwhile)
                (folder / f"{name}.json").write_text(text)
                print(f"{name:16} {len(text):7} bytes")


async def _history(topology: Topology, client: Client, body: dict[str, Any], name: str, meanwhile: Meanwhile) -> str:
    session = await start(topology.http, topology.url, body, f"record-{name}")
    reader = Reader(topology.http, topology.url, session["id"])
    async with asyncio.timeout(60):
        await asyncio.gather(reader.run(), meanwhile(topology, session["id"]))
        handle = client.get_workflow_handle(session["id"])
        await handle.result()
        history = await handle.fetch_history()
    text = re.sub(rf"\d+@{re.escape(socket.gethostname())}", "worker@host", history.to_json())
    leaks = list(content_in(text))
    assert not leaks, f"{name}: content in the history: {leaks[:3]}"
    assert socket.gethostname() not in text, f"{name}: the name of this machine is in the history"
    text = re.sub(
        r'"stackTrace": ?"(?:[^"\\]|\\.)*"', '"stackTrace": ""', text
    )  # where this was run is nobody's business
    return json.dumps(json.loads(text), indent=1) + "\n"


def content_in(text: str) -> Iterator[str]:
    """Every string of a history, payloads decoded, in which something that was said can be read."""
    for value in _strings(json.loads(text)):
        for shown in (value, _decoded(value)):
            if SECRET in shown:
                yield shown


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, str):
        yield value


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode(errors="replace")
    except ValueError:
        return ""


if __name__ == "__main__":
    HISTORIES.mkdir(exist_ok=True)
    asyncio.run(record(HISTORIES))
