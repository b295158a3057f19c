"""What the scripted model is told to say: the user's messages of the benchmark sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "bench"
"""The workspace of all benchmark sessions, below the workspace root."""
SMALL_FILES = 200
END: Final[dict[str, Any]] = {"name": "complete_task", "input": {"summary": "Done."}}
READ: Final[dict[str, Any]] = {"name": "read_file", "input": {"path": "small-{n}.txt"}}
WRITE: Final[dict[str, Any]] = {"name": "write_file", "input": {"path": "note-{n}.txt", "content": "step {n}\n"}}
TYPED: Final[dict[str, Any]] = {"first_token_ms": 100, "token_ms": 5, "text_tokens": 40, "timestamps": True}
"""A model that types: 40 tokens in 200 ms after 100 ms; each text delta is the time at which it was written."""

REALISTIC: Final[dict[str, Any]] = {"first_token_ms": 300, "token_ms": 20, "text_tokens": 50, "timestamps": True}
"""A model as people rent it: the first token after 300 ms, then 50 tokens a second, for a second."""


def message(*turns: dict[str, Any]) -> str:
    """A user's message that makes the scripted model play these turns."""
    return f"Play this.\n```script\n{json.dumps({'turns': turns})}\n```"


def steps(count: int, tool: dict[str, Any] = READ, **turn: Any) -> str:
    """`count` model calls with one tool call each; the last one completes the task."""
    spoken = {"text": "Next.", **turn} if "text_tokens" not in turn else turn
    last = {**spoken, "tools": [END]}
    if count == 1:
        return message(last)
    return message({**spoken, "tools": [tool], "times": count - 1}, last)


def prepare(workspaces: Path) -> Path:
    """Make the workspace with what the tools read."""
    folder = workspaces / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, SMALL_FILES + 1):
        (folder / f"small-{number}.txt").write_text(f"a small file, number {number}\n")
    return folder
