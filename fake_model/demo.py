"""The default script: a short, believable run for any task, with real tools and one failure to recover from.

It uses only tools that the request declares, so it is a plain answer where there are none.
"""

from __future__ import annotations

from typing import Any

_PACE = {"first_token_ms": 250, "token_ms": 20, "chunk_chars": 12}
_QUOTED_CHARS = 60
_FILE = "hello.py"


def script_for(task: str, tools: frozenset[str]) -> dict[str, Any]:
    """The demo for this task as the JSON of a Script."""
    quoted = " ".join(task.replace("#script demo", "").split())
    if len(quoted) > _QUOTED_CHARS:
        quoted = quoted[: _QUOTED_CHARS - 1] + "…"
    turns = [turn for turn in _scenes(quoted) if turn["tools"] and _names(turn) <= tools]
    if not turns:
        return {"name": "demo", "turns": [_answer(quoted)]}
    return {"name": "demo", "turns": turns, "then_text": f"Finished: {quoted}"}


def _names(turn: dict[str, Any]) -> set[str]:
    return {tool["name"] for tool in turn["tools"]}


def _turn(text: str, *tools: tuple[str, dict[str, Any]], thinking: str | None = None) -> dict[str, Any]:
    calls = [{"name": name, "input": arguments} for name, arguments in tools]
    return {"thinking": thinking, "text": text, "tools": calls, **_PACE}


def _answer(task: str) -> dict[str, Any]:
    said = f"You asked: “{task}”. I am the demo model: with tools I would write a small program and run it for you."
    return _turn(said, thinking="No tools are offered here, so I answer in words.")


def _scenes(task: str) -> list[dict[str, Any]]:
    return [
        _turn(
            "I'll look around the workspace first.",
            ("directory_tree", {"path": ".", "depth": 2}),
            ("grep", {"pattern": "hello", "maxResults": 5}),
            thinking=f"The task is: {task}. Let me see what is already here before I write anything.",
        ),
        _turn(
            f"Now a small program that does it: `{_FILE}`.",
            ("write_file", {"path": _FILE, "content": _program(task)}),
        ),
        _turn("Let me run it.", ("exec", {"command": f"python3 {_FILE}"})),
        _turn(
            "One more look, at the notes of an earlier run.",
            ("read_file", {"path": "notes/earlier-run.txt"}),
            thinking="There may be notes of an earlier run. If there are none, that is fine too.",
        ),
        _turn(
            "There are no earlier notes; that changes nothing. I'll check the file as it is on disk.",
            ("read_file", {"path": _FILE}),
        ),
        _turn(
            "The program is in place and it works.",
            (
                "complete_task",
                {
                    "summary": f"Wrote {_FILE} for “{task}”, ran it, and checked the file on disk.",
                    "artifacts": [{"type": "file", "id": _FILE, "description": "Prints a greeting and the task"}],
                    "nextSteps": [f"Run it yourself: python3 {_FILE}", "Give me a task of your own"],
                },
            ),
        ),
    ]


def _program(task: str) -> str:
    """`task` goes in as a Python literal, so whatever it holds stays text."""
    return (
        '"""Written by the demo model of Perdure."""\n\n'
        f"TASK = {task!a}\n\n\n"
        'if __name__ == "__main__":\n'
        '    print("Hello from Perdure!")\n'
        '    print("The task was: " + TASK)\n'
    )
