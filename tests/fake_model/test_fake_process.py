"""The fake as a process of its own, its log over HTTP, and the demo."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from fake_model.serve import Running

ROOT = Path(__file__).parents[2]
REAL_TOOLS = ("directory_tree", "grep", "write_file", "exec", "read_file", "complete_task")


def declared(*names: str) -> list[Any]:
    return [{"name": name, "description": name, "input_schema": {"type": "object"}} for name in names]


@asynccontextmanager
async def process() -> AsyncIterator[str]:
    starting = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fake_model", "--port", "0", cwd=ROOT, stdout=subprocess.PIPE
    )
    assert starting.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = await starting.stdout.readline()
        yield json.loads(line)["url"]
    finally:
        starting.terminate()
        await starting.wait()


async def test_it_serves_as_a_process_on_a_free_port_and_keeps_a_log() -> None:
    turn = {"text": "hi", "faults": [None, {"kind": "status", "code": 529}]}
    question: Any = [{"role": "user", "content": "#script stored"}]
    async with (
        process() as url,
        AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client,
        httpx2.AsyncClient(base_url=url) as http,
    ):
        stored = await http.put("/_fake/scripts/stored", json={"turns": [turn]})
        assert stored.status_code == 204
        reply = await client.messages.create(
            model="claude-haiku-4-5", max_tokens=99, messages=question, metadata={"user_id": "one"}
        )
        assert reply.content[0].type == "text"
        assert reply.content[0].text == "hi"
        logged = (await http.get("/_fake/requests", params={"session": "one"})).json()
        assert [record["outcome"] for record in logged] == ["completed"]
        assert logged[0]["request"] == {"model": "claude-haiku-4-5", "tools": [], "messages": 1}
        assert logged[0]["opened_at"] <= logged[0]["closed_at"] <= time.time()
        assert (await http.get("/_fake/requests", params={"session": "other"})).json() == []
        assert (await http.get("/_fake/bought")).json() == {"one": {"0": 1}}
        assert (await http.delete("/_fake/requests")).status_code == 204
        assert (await http.get("/_fake/requests")).json() == []
        lost = await http.get("/v1/nothing")
        assert lost.json()["error"]["type"] == "not_found_error"
        bad = await http.put("/_fake/scripts/bad", json={"turns": 5})
        assert bad.status_code == 400


async def perform(client: AsyncAnthropic, task: str, tools: list[Any], folder: Path) -> tuple[list[str], list[Any]]:
    """Runs a conversation to its end, doing for real what the demo asks for. The tools called, and the last message."""
    messages: list[Any] = [{"role": "user", "content": task}]
    called: list[str] = []
    while True:
        async with client.messages.stream(
            model="claude-opus-5-5",
            max_tokens=1000,
            messages=messages,
            tools=tools,
            thinking={"type": "adaptive", "display": "summarized"},
        ) as stream:
            reply = await stream.get_final_message()
        calls: list[Any] = [block for block in reply.content if block.type == "tool_use"]
        called += [call.name for call in calls]
        if not calls or calls[-1].name == "complete_task":
            return called, list(reply.content)
        messages += [{"role": "assistant", "content": reply.content}]
        messages += [{"role": "user", "content": [_done(call, folder) for call in calls]}]


def _done(call: Any, folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.id, "content": "done"}
    if call.name == "write_file":
        (folder / call.input["path"]).write_text(call.input["content"], encoding="utf-8")
    elif call.name == "read_file" and not (folder / call.input["path"]).exists():
        answer |= {"content": "NOT_FOUND", "is_error": True}
    return answer


async def test_the_demo_runs_any_task_in_less_than_15_seconds(
    fake: Running, client: AsyncAnthropic, tmp_path: Path
) -> None:
    task = 'Say "hi" to \'Zoë\' \\ and """quote""" {n} {0}\nwell; $(rm -rf /)'
    begun = time.perf_counter()
    called, last = await perform(client, task, declared(*REAL_TOOLS), tmp_path)
    assert 2 < time.perf_counter() - begun < 15
    assert called == ["directory_tree", "grep", "write_file", "exec", "read_file", "read_file", "complete_task"]
    assert set(last[-1].input) == {"summary", "artifacts", "nextSteps"}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "hello.py", cwd=tmp_path, stdout=subprocess.PIPE, env={"PYTHONUTF8": "1"}
    )
    printed, _ = await running.communicate()
    assert printed.decode().startswith("Hello from Perdure!\n")
    assert "Zoë" in printed.decode()
    assert running.returncode == 0
    assert {record.outcome for record in fake.requests} == {"completed"}


@pytest.mark.parametrize(
    ("tools", "called"),
    [((), []), (("read_file", "grep"), ["read_file", "read_file"]), (("complete_task",), ["complete_task"])],
)
async def test_the_demo_uses_only_declared_tools(
    client: AsyncAnthropic, tmp_path: Path, tools: tuple[str, ...], called: list[str]
) -> None:
    done, last = await perform(client, "do it", declared(*tools), tmp_path)
    assert done == called
    assert last[-1].type in ("text", "tool_use")
