"""What every tool has in common: its published shape, its arguments, its bounds."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from activities.tools import TOOLS, ToolContext, ToolError, ToolOutput, call
from activities.tools.complete_task import CompleteTask
from tests.tools.room import Room

INPUTS = {  # the best-known tools as in CONTRACT §4; those required first
    "read_file": (["path"], ["lines", "offset", "encoding"]),
    "write_file": (["path", "content"], ["append", "createDirs"]),
    "edit_file": (["path", "old_string", "new_string"], ["replace_all"]),
    "search_files": (["pattern"], ["directory", "maxResults"]),
    "grep": (["pattern"], ["path", "glob", "context", "maxResults"]),
    "directory_tree": ([], ["path", "depth"]),
    "patch_apply": (["patch"], []),
    "git_status": ([], ["directory"]),
    "git_diff": ([], ["path", "staged", "ref", "directory"]),
    "git_log": ([], ["maxCount", "path", "ref", "directory"]),
    "git_commit": (["message"], ["paths", "all", "directory"]),
    "git_branch": ([], ["name", "create", "switch", "directory"]),
    "test_run": ([], ["path", "framework", "args", "timeout"]),
    "todo_write": (["todos"], []),
    "todo_read": ([], []),
    "retrieve_result": (["handle"], ["offset", "length", "pattern"]),
    "memory_search": (["query"], ["maxResults", "minScore"]),
    "memory_get": (["path"], ["startLine", "lines"]),
    "memory_write": (["content"], []),
    "exec": (["command"], ["timeout", "workdir", "background"]),
    "web_fetch": (["url"], ["method", "headers", "body"]),
    "complete_task": (["summary"], ["artifacts", "nextSteps"]),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_tool_takes_the_inputs_of_the_contract_and_no_other(name: str) -> None:
    required, optional = INPUTS[name]
    schema = TOOLS[name].input_schema()
    assert schema["type"] == "object" and schema["additionalProperties"] is False
    assert list(schema["properties"]) == required + optional
    assert schema.get("required", []) == required
    assert all("description" in each for each in schema["properties"].values())


def test_a_schema_has_no_references_and_no_generated_titles() -> None:
    shown = str([tool.input_schema() for tool in TOOLS.values()])
    for noise in ("$ref", "$defs", "'title'", "'null'", "CONTRACT"):
        assert noise not in shown


def test_levels_and_effects_are_as_the_tools_act() -> None:
    assert {name: (tool.security_level, tool.effect) for name, tool in TOOLS.items()} == {
        "read_file": ("safe", "readOnly"),
        "write_file": ("moderate", "sideEffect"),
        "edit_file": ("moderate", "sideEffect"),
        "patch_apply": ("moderate", "sideEffect"),
        "search_files": ("safe", "readOnly"),
        "grep": ("safe", "readOnly"),
        "directory_tree": ("safe", "readOnly"),
        "git_status": ("safe", "readOnly"),
        "git_diff": ("safe", "readOnly"),
        "git_log": ("safe", "readOnly"),
        "git_commit": ("moderate", "sideEffect"),
        "git_branch": ("moderate", "sideEffect"),
        "exec": ("dangerous", "sideEffect"),
        "exec_output": ("safe", "readOnly"),
        "exec_kill": ("safe", "idempotent"),
        "web_fetch": ("moderate", "sideEffect"),
        "web_search": ("moderate", "readOnly"),
        "test_run": ("dangerous", "sideEffect"),
        "todo_write": ("safe", "idempotent"),
        "todo_read": ("safe", "readOnly"),
        "retrieve_result": ("safe", "readOnly"),
        "memory_search": ("safe", "readOnly"),
        "memory_get": ("safe", "readOnly"),
        "memory_write": ("moderate", "sideEffect"),
        "complete_task": ("safe", "idempotent"),
    }


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("read_file", {}, ["`path` is missing"]),
        ("read_file", {"path": "a", "lines": 0}, ["`lines`", "greater than or equal to 1"]),
        ("read_file", {"path": "a", "encoding": "base64"}, ["`encoding`", "utf-8"]),
        ("write_file", {"path": "a"}, ["`content` is missing"]),
        ("write_file", {"path": "a", "content": "\ud800"}, ["surrogate"]),
        (
            "edit_file",
            {"path": "a", "oldString": "x"},
            ["`old_string` is missing", "`oldString` is not an argument"],
        ),
        (
            "exec",
            {"command": "true", "detached": True},
            ["`detached` is not an argument of exec", "timeout"],
        ),
        ("exec", {"command": "true", "timeout": 171}, ["`timeout`", "170"]),
        ("exec", {"command": "true", "timeout": float("nan")}, ["`timeout`"]),
        ("exec", {"command": "echo \0"}, ["`command`", "NUL"]),
        ("grep", {"pattern": "a", "context": "many"}, ["`context`", "integer"]),
        ("complete_task", {"summary": "x", "artifacts": [{"type": "file"}]}, ["`artifacts.0.id` is missing"]),
        ("read_file", ["a"], ["path, lines, offset, encoding"]),
    ],
)
async def test_wrong_arguments_are_told_by_field(room: Room, name: str, arguments: Any, told: list[str]) -> None:
    with pytest.raises(ToolError) as caught:
        await call(TOOLS[name], arguments, room.context())
    assert caught.value.code == "INVALID_ARGUMENTS"
    for part in told:
        assert part in caught.value.message


async def test_a_tool_that_does_not_end_is_stopped_at_its_limit(room: Room) -> None:
    async def endless(_arguments: Any, _context: ToolContext) -> ToolOutput:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ToolError) as caught:
        await call(replace(TOOLS["directory_tree"], run=endless, timeout=0.05), {}, room.context())
    assert caught.value.code == "TIMEOUT"


async def test_a_system_call_that_timed_out_is_not_taken_for_the_limit(room: Room) -> None:
    async def failing(_arguments: Any, _context: ToolContext) -> ToolOutput:
        raise TimeoutError(110, "Connection timed out")

    with pytest.raises(ToolError) as caught:
        await call(replace(TOOLS["directory_tree"], run=failing), {}, room.context())
    assert caught.value.code == "IO_ERROR"


async def test_output_over_the_cap_keeps_head_and_tail_and_says_how_much_is_missing(room: Room) -> None:
    async def long(_arguments: Any, _context: ToolContext) -> ToolOutput:
        return ToolOutput("head" + "x" * 5_000 + "tail\0")

    output = await call(replace(TOOLS["directory_tree"], run=long, output_cap=1_000), {}, room.context())
    assert output.truncated and len(output.content) <= 1_000
    assert output.content.startswith("headx") and output.content.endswith("xtail\ufffd")
    missing = 5_009 - output.content.replace("\n", "").count("x") - len("headtail\ufffd")
    assert f"[... {missing:,} characters left out ...]" in output.content


async def test_complete_task_answers_its_summary_and_its_arguments_are_the_summary_event(room: Room) -> None:
    arguments = {
        "summary": "all done",
        "artifacts": [{"type": "file", "id": "a.md", "url": None}],
        "nextSteps": ["rest"],
    }
    assert await room.says("complete_task", **arguments) == "all done"
    parsed = CompleteTask.model_validate(arguments)
    assert parsed.artifacts[0].id == "a.md" and parsed.next_steps == ("rest",)


def test_listing_the_tools_imports_no_provider_no_server_and_no_search_engine() -> None:
    heavy = "{'anthropic', 'temporalio', 'fastapi', 'sqlalchemy', 'pathspec'}"
    program = f"import sys, activities.tools; assert not {heavy} & set(sys.modules), sys.modules.keys()"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
