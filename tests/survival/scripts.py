"""What the sessions of these tests do: a few seconds of thinking, text, commands that leave a mark, and reading."""

from __future__ import annotations

import json
from typing import Any

LINES = "lines.txt"


def task(turns: list[dict[str, Any]], then_text: str = "All done.") -> str:
    """A user's message that makes the fake model play these turns."""
    script = json.dumps({"turns": turns, "then_text": then_text})
    return f"Play this.\n```script\n{script}\n```"


def mark(name: str, seconds: str) -> dict[str, Any]:
    """A command that appends a line which nothing else writes, then sleeps for a time that nothing else sleeps."""
    return {"name": "exec", "input": {"command": f"echo {name} >> {LINES}; sleep {seconds}"}}


def busy_session(mark_of: str) -> str:
    """Five steps: streamed thinking and text at 10 ms a token, marks, reading, and two pairs of parallel calls.

    `mark_of` is made of digits and is in every sleep's argument, so that a process left over can be told.
    """
    seconds = f"0.3{mark_of}"
    tree = {"name": "directory_tree", "input": {}}
    look = {"name": "search_files", "input": {"pattern": "**/*"}}
    pace = {"token_ms": 10, "chunk_chars": 6}
    words = "I look at what there is, then I write a line, and I wait a little until it is there. "
    turns = [
        {"thinking": words, "text": words, "tools": [mark("one", seconds)], **pace},
        {"thinking": words, "text": words * 2, "tools": [mark("two", seconds), tree], **pace},
        {"text": words, "tools": [look], **pace},
        {"thinking": words * 2, "text": words, "tools": [mark("three", seconds), mark("four", seconds)], **pace},
        {"thinking": words, "text": words * 3, **pace},
    ]
    return task(turns)
