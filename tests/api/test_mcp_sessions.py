"""Sessions that call tools of MCP servers: a real one, and one whose process is killed in the middle of a call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from temporalio.client import Client

from fake_model.serve import Running
from session.mcp import parse_servers
from tests.support.asking import follow, get, start
from tests.support.events import only, the
from tests.support.mcp_room import TIME, plain, read, until
from tests.support.stack import running_stack
from tests.support.turns import calls, completes, script

ZONES = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}


async def test_a_server_killed_in_the_middle_of_a_call_is_an_error_result_and_the_session_goes_on(
    client: Client, fake: Running, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    config = {"mcpServers": {"time": TIME, "plain": plain(files)}}
    servers = parse_servers(json.dumps(config), {})
    task = script(
        calls(("time__convert_time", ZONES), ("plain__echo", {"text": "first"})),
        calls(("plain__slow", {}), ("plain__echo", {})),
        calls(("plain__echo", {"text": "second"})),
        completes("Done."),
    )
    async with running_stack(client, fake.url, tmp_path / "stack", mcp_servers=servers) as stack:
        session = await start(stack.http, task)
        events = asyncio.create_task(follow(stack.http, session["id"]))
        await until(lambda: "slow" in read(files / "calls"), 30)
        os.kill(int(read(files / "pid")), signal.SIGKILL)
        told = await asyncio.wait_for(events, 30)
        offered = await get(stack.http, "/api/chat/tools")

    results = {(data["step"], data["name"]): data["result"] for data in only(told, "tool:result")}
    assert '"time_difference": "-9.0h"' in results[1, "time__convert_time"]["content"]
    assert results[1, "plain__echo"]["content"] == "first"
    lost = results[2, "plain__slow"]["error"]
    assert lost["code"] == "MCP_SERVER_LOST" and "is unknown" in lost["message"]
    assert results[2, "plain__echo"]["error"]["code"] == "INVALID_ARGUMENTS"
    assert results[3, "plain__echo"]["content"] == "second"
    assert the(told, "complete")["stopReason"] == "taskCompleted"
    assert read(files / "calls").split() == ["echo", "slow", "echo"]
    assert {"time__convert_time", "plain__echo"} <= {tool["name"] for tool in offered["tools"]}


async def test_sandbox_mode_lets_only_those_run_that_call_themselves_read_only(
    client: Client, fake: Running, tmp_path: Path
) -> None:
    servers = parse_servers(json.dumps({"mcpServers": {"time": TIME, "plain": plain(tmp_path / "files")}}), {})
    task = script(calls(("time__convert_time", ZONES), ("plain__echo", {"text": "x"})), completes("Done."))
    async with running_stack(client, fake.url, tmp_path / "stack", mcp_servers=servers) as stack:
        session = await start(stack.http, task, securityMode="sandbox")
        told = await follow(stack.http, session["id"])
    results = {data["name"]: data for data in only(told, "tool:result")}
    assert results["time__convert_time"]["status"] == "success"
    assert results["plain__echo"]["result"]["error"]["code"] == "REFUSED"
    assert read(tmp_path / "files" / "calls") == ""
