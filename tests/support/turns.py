"""What the scripted model is to say, as the user's message that says so."""

from __future__ import annotations

import json
from typing import Any

Turn = dict[str, Any]


def script(*turns: Turn, task: str = "Do it.", **more: Any) -> str:
    """A user's message with an inline script: one turn for each of the model's replies."""
    return f"{task}\n```script\n{json.dumps({'turns': list(turns), **more})}\n```"


def says(text: str, **more: Any) -> Turn:
    return {"text": text, **more}


def calls(*tools: tuple[str, dict[str, Any]], **more: Any) -> Turn:
    """A reply that calls tools, each given as (name, input)."""
    return {"tools": [{"name": name, "input": given} for name, given in tools], **more}


def completes(summary: str, **more: Any) -> Turn:
    return calls(("complete_task", {"summary": summary, **more}))


def slowly(seconds: float = 30.0, pieces: int = 200) -> Turn:
    """A reply in so many pieces, spread over so many seconds: something to stop in the middle."""
    return {"text_tokens": pieces, "token_ms": seconds * 1000 / pieces}


def fails_first(*faults: dict[str, Any] | None, text: str = "one two three four five") -> Turn:
    """A reply whose first requests meet these faults."""
    return {"text": text, "chunk_chars": 4, "faults": list(faults)}
