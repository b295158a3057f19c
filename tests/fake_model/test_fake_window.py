"""The window of the scripted model, and the summaries that it writes of what it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import AsyncAnthropic, BadRequestError

from fake_model.serve import Running, running
from fake_model.summing import ASKED_BY
from session.compaction import SUMMARISE
from tests.fake_model.good import Request, result, send, text, use

LONG = "FACT: the sky is green\n" + "word " * 1_000
TOOL = {"name": "grep", "input_schema": {"type": "object"}}


def asked(*messages: dict[str, Any], system: str = "Be good.") -> Request:
    return {"model": "claude-sonnet-4-6", "max_tokens": 100, "system": [text(system)], "messages": list(messages)}


def says(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


async def test_a_prompt_beyond_the_window_is_refused_in_the_words_of_the_api() -> None:
    async with (
        running(window=1_000) as fake,
        AsyncAnthropic(api_key="a key", base_url=fake.url, max_retries=0) as client,
    ):
        with pytest.raises(BadRequestError) as refused:
            await send(client, asked(says(text(LONG))))
        assert refused.value.type == "invalid_request_error"
        assert "prompt is too long: 1" in str(refused.value) and "tokens > 1000 maximum" in str(refused.value)
        await send(client, asked(says(text("short"))))
        counted = await client.messages.count_tokens(model="claude-sonnet-4-6", messages=[says(text(LONG))])  # type: ignore[list-item]
        assert counted.input_tokens > 1_000, "what is too long can be counted all the same"


async def test_a_summary_has_the_facts_that_were_sent_and_is_no_turn(fake: Running, client: AsyncAnthropic) -> None:
    answer = await send(client, asked(says(text(LONG)), system=SUMMARISE))
    assert answer["content"][-1]["text"] == "A summary.\nFACT: the sky is green"
    answer = await send(client, asked(says(text("Nothing.")), system=SUMMARISE))
    assert "FACT" not in answer["content"][-1]["text"]
    assert fake.bought() == {}


async def test_the_steps_that_a_summary_stands_for_count_as_turns(fake: Running, client: AsyncAnthropic) -> None:
    turns = [{"text": "{n} {facts}", "tools": [{"name": "grep"}], "times": 9}]
    summary = "[Steps 1 to 3 of this session are summarised.]"
    said = f"{summary}\n```script\n{json.dumps({'turns': turns})}\n```"
    first = {**asked(says(text(said))), "tools": [TOOL]}
    assert (await send(client, first))["content"][0]["text"].startswith("4")
    messages = [says(text(said)), {"role": "assistant", "content": [use()]}, says(result(content=LONG))]
    answer = await send(client, {**asked(*messages), "tools": [TOOL]})
    assert answer["content"][0]["text"] == "5 FACT: the sky is green"


def test_the_scripted_model_knows_who_asks_for_a_summary() -> None:
    assert SUMMARISE.startswith(ASKED_BY)
