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
_SAID = re.compile(r"^Said before step (\d+):$", re.MULTILINE)
_STEPS_BEFORE = re.compile(r"\[Steps 1 to (\d+) of this session are summarised\.\]")


def asks_for_summary(body: JsonObject) -> bool:
    system = blocks_of(body.get("system") or [])
    return bool(system) and str(system[0].get("text", "")).startswith(ASKED_BY)


def facts_in(body: JsonObject) -> list[str]:
    """The facts in a good request's messages, each once, in their order."""
    texts = [text for message in body["messages"] for block in blocks_of(message["content"]) for text in _texts(block)]
    return list(dict.fromkeys(fact.strip() for text in texts for fact in _FACT.findall(text)))


def resumed(text: str) -> tuple[str, int]:
    """What was asked last in a user's message, and how many turns after that it stands for: one that begins with a
    summary of steps says so, and repeats what was said between them."""
    summary = _STEPS_BEFORE.match(text)
    if summary is None:
        return text, 0
    *_, before, asked = ["1", text, *_SAID.split(text)[1:]]
    return asked, int(summary[1]) - int(before) + 1


def _texts(block: JsonObject) -> list[str]:
    if block["type"] == "text":
        return [block["text"]]
    if block["type"] != "tool_result":
        return []
    return [part["text"] for part in blocks_of(block.get("content") or []) if part["type"] == "text"]
