"""Which tool runs in which security mode (CONTRACT §2): every tool in every mode, in real sessions."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx
import pytest

from activities.tools import TOOLS
from session.security import is_offered
from session.vocabulary import SecurityMode
from tests.support.asking import Json, follow, get, names_field, play, session, start
from tests.support.events import only, the
from tests.support.turns import calls, completes, script

SAMPLES: Final[dict[str, Json]] = {
    "read_file": {"path": "a.txt"},
    "write_file": {"path": "a.txt", "content": "x"},
    "edit_file": {"path": "a.txt", "old_string": "x", "new_string": "y"},
    "patch_apply": {"patch": "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+new\n"},
    "search_files": {"pattern": "*.txt"},
    "grep": {"pattern": "x"},
    "directory_tree": {},
    "git_status": {},
    "git_diff": {},
    "git_log": {},
    "git_commit": {"message": "m", "all": True},
    "git_branch": {"name": "b", "create": True},
    "test_run": {},
    "exec": {"command": "echo ran"},
    "exec_output": {"handle": "job_none"},
    "exec_kill": {"handle": "job_none"},
    "web_fetch": {"url": "http://127.0.0.1:1/"},
    "web_search": {"query": "x"},
    "todo_write": {"todos": [{"content": "look", "status": "pending"}]},
    "todo_read": {},
    "retrieve_result": {"handle": "toolu_none"},
    "memory_search": {"query": "x"},
    "memory_get": {"path": "none.md"},
    "memory_write": {"content": "a fact"},
    "complete_task": {"summary": "Done."},
}
WRITES: Final = {"write_file", "edit_file", "patch_apply", "memory_write"}
COMMANDS: Final = {"git_commit", "git_branch", "test_run", "exec"}
ALLOWED: Final = ["read_file", "grep", "exec(echo *)", "write_file(src/*)"]
EXPECTED: Final[dict[SecurityMode, tuple[str, set[str]]]] = {
    "deny": ("refused", set(SAMPLES)),
    "sandbox": ("refused", WRITES),
    "allowlist": ("refused", {"write_file"}),
    "ask": ("asked", WRITES | COMMANDS | {"web_fetch"}),
    "full": ("refused", set()),
}
"""What does not run in a mode, and what becomes of it. Everything else runs, whatever comes of it."""

OFFERED: Final = [name for name in TOOLS if name != "web_search"]


async def outcomes(http: httpx.AsyncClient, mode: SecurityMode) -> dict[str, str]:
    """What became of one call of every tool: ran, refused, asked; or absent, where the model was not told of it."""
    fields: Json = {"allowedTools": ALLOWED} if mode == "allowlist" else {}
    told = [name for name in OFFERED if is_offered(name, fields.get("allowedTools"))]
    content = script(calls(*((name, SAMPLES[name]) for name in told)))
    running = await start(http, content, securityMode=mode, **fields)
    if mode == "ask":
        await _deny_all(http, running["id"])
    events = await follow(http, running["id"])
    asked = {data["name"] for data in only(events, "approval:required")}
    found = dict.fromkeys(OFFERED, "absent")
    for data in only(events, "tool:result"):
        code = data["result"].get("error", {}).get("code")
        assert code not in ("UNKNOWN_TOOL", "INVALID_ARGUMENTS", "TOOL_FAILED"), data
        kind = {"REFUSED": "refused", "DENIED": "asked"}.get(code, "ran")
        assert (kind == "asked") == (data["name"] in asked)
        found[data["name"]] = kind
    return found


async def _deny_all(http: httpx.AsyncClient, session_id: str) -> None:
    async with asyncio.timeout(60):
        while (await session(http, session_id))["status"] not in ("completed", "failed"):
            pending = await get(http, "/api/approvals", status="pending", sessionId=session_id, limit=100)
            for approval in pending["approvals"]:
                await http.post(f"/api/sessions/{session_id}/approvals/{approval['id']}", json={"decision": "deny"})
            await asyncio.sleep(0.05)


async def test_every_tool_in_every_mode_runs_is_refused_or_asks_as_the_table_says(
    http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(SAMPLES) == set(TOOLS), "a tool was added: say here how it is called"
    table = {mode: await outcomes(http, mode) for mode in EXPECTED}
    with capsys.disabled():
        print(f"\n{'':16}" + "".join(f"{mode:>12}" for mode in table))
        for name in OFFERED:
            print(f"{name:16}" + "".join(f"{table[mode][name]:>12}" for mode in table))
    for mode, (word, names) in EXPECTED.items():
        allowed = ALLOWED if mode == "allowlist" else None
        expected = {name: word if name in names else "ran" for name in OFFERED if is_offered(name, allowed)}
        expected = dict.fromkeys(OFFERED, "absent") | expected
        assert table[mode] == expected, mode


async def test_commands_of_a_sandboxed_session_say_that_they_ran_inside_the_sandbox(http: httpx.AsyncClient) -> None:
    events = await play(http, script(calls(("exec", {"command": "echo ran"})), completes("x")), securityMode="sandbox")
    result = only(events, "tool:result")[0]["result"]
    if result["success"]:
        assert "sandbox: bubblewrap" in result["content"]
    else:  # on a kernel where none can be made
        assert result["error"]["code"] == "SANDBOX_UNAVAILABLE"


async def test_allowed_patterns_hold_for_the_arguments_too(http: httpx.AsyncClient) -> None:
    inside, outside = {"path": "src/a.py", "content": "x"}, {"path": "src/../a.py", "content": "x"}
    lines = ["echo a", "echo a; touch b", "touch b"]
    turn = calls(("write_file", inside), ("write_file", outside), *(("exec", {"command": line}) for line in lines))
    events = await play(http, script(turn, completes("x")), securityMode="allowlist", allowedTools=ALLOWED)
    codes = {data["toolCallId"]: data["result"].get("error", {}).get("code") for data in only(events, "tool:result")}
    called = {data["id"]: data["arguments"] for data in only(events, "tool:call")}
    told = [(called[one].get("path") or called[one].get("command"), code) for one, code in codes.items()]
    ran = {what for what, code in told if code is None}
    assert ran == {"src/a.py", "echo a", None}  # complete_task has neither
    assert {code for what, code in told if what not in ran} == {"REFUSED"}
    assert the(events, "complete")["stopReason"] == "taskCompleted"


@pytest.mark.parametrize(("pattern", "said"), [("nothing", "there is no tool nothing"), ("exec(", "no pattern")])
async def test_a_pattern_that_names_no_tool_is_told(http: httpx.AsyncClient, pattern: str, said: str) -> None:
    body: dict[str, Any] = {"content": "x", "allowedTools": [pattern]}
    assert said in names_field(await http.post("/api/sessions", json=body), "allowedTools")["error"]
