"""MCP servers as a source of tools: real ones and strange ones, over stdio."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.mcp_room import TIME, opened, plain, read, until


async def test_the_tools_of_a_real_server_are_in_the_catalog_and_answer(tmp_path: Path) -> None:
    async with opened(tmp_path, {"time": TIME}) as room:
        assert room.names("time") == ["time__convert_time", "time__get_current_time"]
        tool = room.spec("time__get_current_time").tool()
        assert tool.input_schema["type"] == "object" and tool.input_schema["required"] == ["timezone"]
        assert (tool.effect, tool.security_level) == ("readOnly", "safe")
        assert json.loads(await room.says("time__get_current_time", timezone="UTC"))["timezone"] == "UTC"
        times = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}
        assert json.loads(await room.says("time__convert_time", **times))["time_difference"] == "-9.0h"
        wrong = await room.refused("time__get_current_time", timezone="Nowhere/Land")
        assert wrong.code == "MCP_ERROR" and "Nowhere/Land" in wrong.message


async def test_a_server_that_works_on_files_works_in_its_folder_and_its_hints_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    made = await asyncio.create_subprocess_exec("git", "init", "-q", repository)
    assert await made.wait() == 0
    (repository / "a.txt").write_text("a\n")
    git = {"command": sys.executable, "args": ["-m", "mcp_server_git"], "cwd": str(repository)}
    async with opened(tmp_path, {"git": git}) as room:
        levels = {name: (spec.effect, spec.security_level) for name, spec in room.catalog.specs().items()}
        assert levels["git__git_status"] == ("readOnly", "safe")
        assert levels["git__git_commit"][0] == "sideEffect" and levels["git__git_commit"][1] != "safe"
        assert "a.txt" in await room.says("git__git_status", repo_path=str(repository))


async def test_one_process_serves_all_calls(tmp_path: Path) -> None:
    async with opened(tmp_path, {"plain": plain(tmp_path / "files")}) as room:
        first = read(tmp_path / "files" / "pid")
        assert [await room.says("plain__echo", text=str(number)) for number in range(20)] == [str(n) for n in range(20)]
        assert read(tmp_path / "files" / "pid") == first


async def test_a_server_sees_a_scrubbed_environment_and_its_own_and_has_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-worker")
    caplog.set_level(logging.INFO, "perdure.mcp")
    server = plain(tmp_path / "files", env={"TOKEN": "tok-123456", "PATH": os.environ["PATH"]})
    async with opened(tmp_path, {"plain": server}, secrets=("tok-123456",)) as room:
        seen = json.loads(await room.says("plain__environment"))
        await until(lambda: "begins with [" in caplog.text)
    assert seen["TOKEN"] == "tok-123456" and seen["HOME"] == str(tmp_path / "homes" / "plain")
    assert "ANTHROPIC_API_KEY" not in seen
    assert "says: the plain server begins with [" in caplog.text and "tok-123456" not in caplog.text


async def test_arguments_that_do_not_fit_the_servers_schema_go_back_naming_the_field(tmp_path: Path) -> None:
    async with opened(tmp_path, {"plain": plain(tmp_path / "files")}) as room:
        missing = await room.refused("plain__echo")
        wrong = await room.refused("plain__echo", text=3)
    assert (missing.code, wrong.code) == ("INVALID_ARGUMENTS", "INVALID_ARGUMENTS")
    assert "'text' is a required property" in missing.message and "`text`: 3 is not of type" in wrong.message
    assert read(tmp_path / "files" / "calls") == ""


async def test_a_server_without_tools_and_one_with_two_hundred_and_one_that_prints_garbage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "perdure.mcp")
    servers = {manner: plain(tmp_path / manner, manner) for manner in ("none", "many", "garbage")}
    async with opened(tmp_path, servers) as room:
        assert room.servers.states() == {"none": None, "many": None, "garbage": None}
        assert (len(room.names("none")), len(room.names("many")), len(room.names("garbage"))) == (0, 200, 6)
        assert await room.says("many__tool_199", text="the last") == "the last"
        assert await room.says("garbage__echo", text="still") == "still"
    assert "garbage { that is no message" in caplog.text


async def test_a_server_that_hangs_or_is_not_there_costs_its_own_tools_alone(tmp_path: Path) -> None:
    servers = {
        "hang": plain(tmp_path / "hang", "hang"),
        "absent": {"command": "no-such-command"},
        "ends": {"command": "false"},
        "nowhere": plain(tmp_path / "nowhere", cwd=str(tmp_path / "missing")),
        "unreached": {"url": "http://127.0.0.1:9/mcp"},
        "plain": plain(tmp_path / "files"),
    }
    begun = time.monotonic()
    async with opened(tmp_path, servers, patience=2) as room:
        assert time.monotonic() - begun < 4
        states = room.servers.states()
        assert [name for name, state in states.items() if state is None] == ["plain"]
        assert states["absent"] == "there is no command no-such-command"
        assert "cannot be reached" in str(states["unreached"])
        assert await room.says("plain__echo", text="here") == "here"
        assert not room.names("hang") and not room.names("ends")
        closing = time.monotonic()
    assert time.monotonic() - closing < 8


async def test_a_server_that_comes_late_has_its_tools_listed_when_it_comes(tmp_path: Path) -> None:
    command = tmp_path / "server"
    late = plain(tmp_path / "files") | {"command": str(command)}
    async with opened(tmp_path, {"late": late}) as room:
        assert not room.names("late")
        command.symlink_to(sys.executable)
        await until(lambda: room.names("late"))
        assert await room.says("late__echo", text="late") == "late"


@pytest.mark.parametrize("kind", ["plain", "sdk"])
async def test_tools_that_change_are_learned(tmp_path: Path, kind: str) -> None:
    sdk = {"command": sys.executable, "args": [str(Path(__file__).parents[1] / "support/mcp_sdk_server.py"), "stdio"]}
    async with opened(tmp_path, {"server": plain(tmp_path / "files") if kind == "plain" else sdk}) as room:
        assert room.catalog.spec("server__grown") is None
        await room.call("server__grow")
        await until(lambda: room.catalog.spec("server__grown"))
        await room.call("server__grown")
