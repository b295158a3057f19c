"""No secret is said: not in a log line, a trace or an error, nor kept in the store or in Temporal's history."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from temporalio.client import Client

from cli.logs import MaskingFormatter
from cli.start_dev import HOST, free_ports
from cli.whereabouts import told
from fake_model.faults import Status
from fake_model.scripts import Script, ToolUse, Turn
from fake_model.serve import Running
from fake_model.serve import running as scripted_model
from session.masking import Masker
from session.spelling import spellings
from tests.support.asking import follow, start
from tests.support.events import only, the
from tests.support.stack import http_client
from tests.survival.part import WITH_PARENT, Part

KEY = "provider-key-5f0c2e7a91"
TOKEN = "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
API_KEY = "the-caller's-own-key"
ECHOED = f"invalid x-api-key: {KEY} ({TOKEN})"


def environment(folder: Path, model_url: str, **more: str) -> dict[str, str]:
    ours = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    keys = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": model_url, "PERDURE_API_KEYS": f"alice:{API_KEY}"}
    return ours | keys | more


@asynccontextmanager
async def served(folder: Path, model: Running) -> AsyncIterator[tuple[Part, httpx.AsyncClient]]:
    """`perdure serve` as a process of its own, and a client of it."""
    port = free_ports(usual=False)[0]
    command = [sys.executable, "-m", "cli.main", "serve", "--data-dir", str(folder / "data"), "--port", str(port)]
    part = Part("serve", command, environment(folder, model.url), folder / "serve.log")
    part.start()
    try:
        async with http_client(f"http://{HOST}:{port}", headers={"Authorization": f"Bearer {API_KEY}"}) as http:
            await answers(part, http)
            yield part, http
            part.signal(signal.SIGTERM)
            await part.ended(20)
    finally:
        part.kill()


async def answers(part: Part, http: httpx.AsyncClient) -> None:
    give_up = time.monotonic() + 30
    while True:
        assert part.is_running and time.monotonic() < give_up, part.said()[-2000:]
        try:
            if (await http.get("/health/ready")).status_code == 200:
                return
        except httpx.HTTPError:
            await asyncio.sleep(0.05)


SCRIPTS = {
    "refused": (Turn(text="never", faults=(Status(code=401, message=ECHOED),)),),
    "retried": (Turn(text="Yes.", faults=(Status(code=500, message=ECHOED),)),),
    "shown": (
        Turn(tools=(ToolUse(name="read_file", input={"path": "notes.txt"}),)),
        Turn(tools=(ToolUse(name="exec", input={"command": "cat notes.txt; cat notes.txt >&2; false"}),)),
        Turn(tools=(ToolUse(name="write_file", input={"path": "b.txt", "content": f"use {TOKEN}"}),)),
    ),
}


async def test_what_a_real_process_says_and_keeps_has_no_key_in_it(tmp_path: Path) -> None:
    async with scripted_model() as model:
        for name, turns in SCRIPTS.items():
            model.add_script(Script(name=name, turns=turns))
        async with served(tmp_path, model) as (part, http):
            sessions = {name: await start(http, f"#script {name}") for name in ("refused", "retried")}
            workspace = tmp_path / "data" / "workspaces" / "with_notes"
            workspace.mkdir(parents=True)
            (workspace / "notes.txt").write_text(f"the key is {KEY}, the token {TOKEN}\n")
            sessions["shown"] = await start(http, "#script shown", workspace="with_notes")
            events = {name: await follow(http, session["id"]) for name, session in sessions.items()}
            shown = [event.data for name in events for event in events[name]]
            audit = (await http.get("/api/audit")).text
            where = told(tmp_path / "data")
            assert where is not None
            client = await Client.connect(where.address)
            handles = [client.get_workflow_handle(session["id"]) for session in sessions.values()]
            histories = [(await handle.fetch_history()).to_json() for handle in handles]
    assert the(events["refused"], "error")["message"].endswith("x-api-key: [secret] ([secret:github])")
    assert "[secret]" in the(events["retried"], "step:retry")["reason"]
    assert len([1 for one in only(events["shown"], "tool:result") if "the key is [secret]" in str(one["result"])]) == 2
    said = {"events": str(shown), "audit": audit, "log": part.said(), "history": "".join(histories)}
    places = {name: text.encode() for name, text in said.items()} | kept(tmp_path / "data")
    assert "[secret:github]" in audit and "perdure.db" in places and len(histories) == 3
    assert [name for name, text in places.items() if has_a_secret(text, written_by_the_model=name)] == []


def kept(folder: Path) -> dict[str, bytes]:
    """Every file that the process left behind, except those that tools were to write and read."""
    files = [path for path in folder.rglob("*") if path.is_file() and "workspaces" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def has_a_secret(text: bytes, *, written_by_the_model: str) -> bool:
    """The server's keys are nowhere; a token that the model itself wrote is in its own transcript, and only there."""
    secrets = [KEY, API_KEY] if written_by_the_model.startswith("perdure.db") else [KEY, API_KEY, TOKEN]
    return any(spelled.encode() in text for spelled in spellings(secrets, ()))


async def test_a_store_that_cannot_be_opened_is_told_without_its_password(tmp_path: Path) -> None:
    port = free_ports(usual=False)[0]
    url = f"postgresql://perdure:{KEY}@127.0.0.1:{port}/{KEY}"
    command = [sys.executable, "-m", "cli.main", "worker", "--data-dir", str(tmp_path)]
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(WITH_PARENT), str(os.getpid()), "--", *command),
        env=environment(tmp_path, "http://127.0.0.1:9", PERDURE_DATABASE_URL=url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(ran.communicate(), 30)
    assert ran.returncode == 2 and b"the store cannot be opened" in said
    assert not has_a_secret(said, written_by_the_model="")


def test_a_line_is_masked_with_its_arguments_its_trace_and_the_causes() -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(MaskingFormatter("%(message)s"))
    handler.formatter.masker = Masker([KEY])  # type: ignore[union-attr]
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        try:
            raise ValueError(f"the cause has {KEY}")
        except ValueError as error:
            raise RuntimeError(f"so has this: {KEY!r}") from error
    except RuntimeError:
        logger.exception("it failed with %s and %r", KEY, {"token": TOKEN})
    said = lines.getvalue()
    assert "Traceback" in said and "RuntimeError: so has this: '[secret]'" in said
    assert said.startswith("it failed with [secret] and {'token': '[secret:github]'}")
    assert KEY not in said and TOKEN not in said


UNCAUGHT = """
import logging, sys, threading, warnings
from cli import logs
logs.configure()
logs.know([sys.argv[1]])
class Odd:
    def __del__(self):
        raise ValueError("odd " + sys.argv[1])
def fail():
    raise ValueError("a thread " + sys.argv[1])
Odd()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
warnings.warn("warned of " + sys.argv[1])
raise ValueError("at last " + sys.argv[1])
"""


async def test_what_nobody_caught_is_told_without_secrets() -> None:
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", UNCAUGHT, KEY),
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await asyncio.wait_for(ran.communicate(), 30))[0].decode()
    assert ran.returncode == 1
    for sentence in ("odd [secret]", "a thread [secret]", "warned of [secret]", "at last [secret]"):
        assert sentence in said, said
    assert KEY not in said
