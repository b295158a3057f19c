"""How the fake writes a summary: whoever asks for one is known by the system prompt, and what is written comes from the
text that was sent, so that a fact which was lost before cannot come back.

A fact is a line with `FACT:`. In an inline script, `{facts}` stands for all facts that the request has.
"""

from __future__ import annotations

import re

from fake_model.blocks import blocks_of
from fake_model.fields import JsonObject

ASKED_BY = "You condense the transcript of an agent's work"
"""How the system prompt of such a request begins."""
NAME = "summary"
"""Of the script that is played for it; one that is registered by this name says how its requests fare."""
_FACT = re.compile(r"FACT: ([^\n\"\\]+)")
_STEPS_BEFORE = re.compile(r"\[Steps 1 to (\d+) of this session are summarised\.\]")


def asks_for_summary(body: JsonObject) -> bool:
    system = blocks_of(body.get("system") or [])
    return bool(system) and str(system[0].get("text", "")).startswith(ASKED_BY)


def facts_in(body: JsonObject) -> list[str]:
    """The facts in a good request's messages, each once, in their order."""
    texts = [text for message in body["messages"] for block in blocks_of(message["content"]) for text in _texts(block)]
    return list(dict.fromkeys(fact.strip() for text in texts for fact in _FACT.findall(text)))


def steps_before(text: str) -> int:
    """How many of the session's steps a user's message stands for: one that begins with their summary says so."""
    said = _STEPS_BEFORE.match(text)
    return int(said[1]) if said else 0


def _texts(block: JsonObject) -> list[str]:
    if block["type"] == "text":
        return [block["text"]]
    if block["type"] != "tool_result":
        return []
    return [part["text"] for part in blocks_of(block.get("content") or []) if part["type"] == "text"]
