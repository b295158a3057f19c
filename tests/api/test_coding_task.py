"""A coding task from end to end, in a real git repository: read, edit, red, edit, green, commit, done.

What came of it is asked of everybody who was told: git, the events, the messages, the audit, the transcript.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx

from tests.support.asking import follow, get, start
from tests.support.events import only, the
from tests.support.stack import Stack
from tests.support.turns import calls, completes, script

BROKEN = "def total(prices):\n    return sum(prices) - 1\n"
TEST = (
    "import unittest\n\nfrom shop import total\n\n\nclass Total(unittest.TestCase):\n"
    "    def test_of_nothing(self):\n        self.assertEqual(total([]), 0)\n\n"
    "    def test_of_some(self):\n        self.assertEqual(total([2, 3]), 5)\n"
)
WRONG = ("edit_file", {"path": "shop.py", "old_string": "- 1", "new_string": "+ 1"})
RIGHT = ("edit_file", {"path": "shop.py", "old_string": " + 1", "new_string": ""})
RUN = ("test_run", {"framework": "unittest"})
TASK = script(
    calls(("read_file", {"path": "shop.py"}), ("git_status", {})),
    calls(WRONG),
    calls(RUN),
    calls(RIGHT),
    calls(RUN),
    calls(("git_diff", {})),
    calls(("git_commit", {"message": "total: do not lose a coin", "all": True})),
    completes("The total is right.", artifacts=[{"type": "file", "id": "shop.py"}], nextSteps=["Release it."]),
)
NAMES = [
    *("read_file", "git_status", "edit_file", "test_run", "edit_file", "test_run", "git_diff", "git_commit"),
    "complete_task",
]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Shop", "-c", "user.email=shop@localhost")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def repository(folder: Path) -> Path:
    """A small project with one bug, in which all is committed."""
    folder.mkdir(parents=True)
    (folder / "shop.py").write_text(BROKEN)
    (folder / "test_shop.py").write_text(TEST)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a shop")
    return folder


async def test_a_coding_task_is_done_and_all_tell_the_same_of_it(stack: Stack, http: httpx.AsyncClient) -> None:
    folder = repository(stack.settings.workspace_root / "shop")
    running = await start(http, TASK, workspace="shop")
    events = await follow(http, running["id"])
    results = only(events, "tool:result")
    codes = [data["result"].get("error", {}).get("code") for data in results if data["name"] == "test_run"]
    assert codes == ["TESTS_FAILED", None], results
    assert the(events, "complete")["stopReason"] == "taskCompleted"
    assert the(events, "summary")["artifacts"] == [{"type": "file", "id": "shop.py"}]

    assert git(folder, "log", "--format=%s").splitlines() == ["total: do not lose a coin", "a shop"]
    assert git(folder, "status", "--porcelain").replace("?? __pycache__/\n", "") == ""
    assert (folder / "shop.py").read_text() == "def total(prices):\n    return sum(prices)\n"

    told = [(data["id"], data["name"], data["status"]) for data in results]
    assert sorted(name for _, name, _ in told) == sorted(NAMES)
    whole = await get(http, f"/api/chat/conversations/{running['conversationId']}")
    said = whole["messages"][-1]["toolCalls"]
    assert sorted((call["id"], call["name"], call["status"]) for call in said) == sorted(told)
    entries = (await get(http, f"/api/sessions/{running['id']}/audit"))["entries"]
    assert sorted((one["toolCallId"], one["tool"], one["status"]) for one in entries) == sorted(told)
    assert {one["kind"] for one in entries} == {"call"}
    arguments = {data["id"]: data["arguments"] for data in only(events, "tool:call")}
    assert {call["id"]: call["arguments"] for call in said} == arguments
    assert {one["toolCallId"]: one["arguments"] for one in entries} == arguments
    transcript = await get(http, f"/api/sessions/{running['id']}/transcript")
    answers = [block for step in transcript["steps"] for message in step["messages"] for block in message["content"]]
    answered = {block["tool_use_id"]: block for block in answers if block["type"] == "tool_result"}
    assert set(answered) == {one for one, _, _ in told}
    red = next(data for data in results if data["name"] == "test_run" and data["status"] == "error")
    assert "FAILED" in answered[red["id"]]["content"]
