"""Claims about system prompts of sessions: what is in them, that they stay as they are, and that caching pays."""

from __future__ import annotations

from typing import Any

from fake_model.serve import Running
from tests.support.asking import conversation, get, play
from tests.support.events import only, the
from tests.support.stack import Stack
from tests.support.turns import calls, says, script

LOOK: tuple[str, dict[str, Any]] = ("directory_tree", {})
CHANGE = ("write_file", {"path": "AGENTS.md", "content": "Changed meanwhile."})


def prompts_of(fake: Running, session_id: str) -> list[list[str]]:
    asked = [record.request["body"] for record in fake.requests if record.session == session_id]
    return [[part["text"] for part in body["system"]] for body in asked]


async def test_the_workspace_and_the_preset_are_told_and_stay_as_they_were(stack: Stack, fake: Running) -> None:
    folder = stack.settings.workspace_root / "proj"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/feature\n")
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    (folder / "AGENTS.md").write_text(f"Use tabs. {token}")
    into = await conversation(stack.http, presetId="coding")
    events = await play(stack.http, script(calls(CHANGE), says("ok")), conversationId=into, workspace="proj")
    session_id = the(events, "session:start")["sessionId"]
    first, second = prompts_of(fake, session_id)
    assert first == second, "what a tool changed does not change the prompt"
    assert "software engineer" in first[0] and "complete_task" in first[0]
    assert "AGENTS.md" in first[1] and "Its git branch: feature." in first[1] and "Use tabs." in first[1]
    assert token not in first[1]
    told = await get(stack.http, f"/api/sessions/{session_id}/transcript")
    assert told["system"] == first


async def test_caching_pays_from_the_second_step_on_and_for_the_next_session(stack: Stack, fake: Running) -> None:
    fields = {"systemPrompt": "Mind the cache.", "model": "claude-opus-5"}
    events = await play(stack.http, script(calls(LOOK), says("done")), **fields)
    one, two = only(events, "step:complete")
    assert two["usage"]["cacheReadTokens"] >= one["usage"]["cacheWriteTokens"] > 0
    assert two["usage"]["inputTokens"] < one["usage"]["cacheWriteTokens"]
    again = only(await play(stack.http, script(says("another task")), **fields), "step:complete")[0]
    assert again["usage"]["cacheReadTokens"] > 0, "tools and the shared part of the prompt were read"


async def test_a_session_without_tools_hears_nothing_of_a_workspace(stack: Stack, fake: Running) -> None:
    into = await conversation(stack.http)
    answer = await stack.http.post(f"/api/chat/conversations/{into}/messages", json={"content": script(says("hi"))})
    session_id = answer.json()["assistantMessage"]["sessionId"]
    (prompt,) = prompts_of(fake, session_id)
    assert "workspace" not in prompt[1] and "complete_task" not in prompt[0]
