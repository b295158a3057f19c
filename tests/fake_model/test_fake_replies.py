"""Replies as the real SDK reads them."""

import json
import time
from typing import Any

import pytest
from anthropic import AsyncAnthropic, BadRequestError

from fake_model.scripts import Script, ToolUse, Turn
from fake_model.serve import Running

MODEL = "claude-sonnet-4-6"
SEEN = {"type": "adaptive", "display": "summarized"}
TOOLS: list[Any] = [
    {"name": name, "description": name, "input_schema": {"type": "object", "properties": {}}}
    for name in ("read_file", "grep")
]
TWO_TOOLS = Script(
    name="two-tools",
    turns=(
        Turn(
            thinking="First I look: “both” at once.",
            text="Looking at two things, naïvely.",
            tools=(
                ToolUse(name="read_file", input={"path": "a.txt", "lines": 3}),
                ToolUse(name="grep", input={"pattern": "ü"}),
            ),
            chunk_chars=5,
        ),
        Turn(text="Both are fine."),
    ),
)


def asked(content: Any, **more: Any) -> dict[str, Any]:
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    return {"model": MODEL, "max_tokens": 1000, "messages": messages, "tools": TOOLS, **more}


def answers(message: Any) -> dict[str, Any]:
    calls = [block.id for block in message.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call, "content": "found"} for call in calls]
    return {"role": "user", "content": results}


def inline(**script: Any) -> str:
    return f"Please play.\n```script\n{json.dumps(script)}\n```"


async def test_a_streamed_turn_round_trips_and_its_transcript_is_accepted(
    fake: Running, client: AsyncAnthropic
) -> None:
    fake.add_script(TWO_TOOLS)
    messages: list[Any] = [{"role": "user", "content": "#script two-tools"}]
    async with client.messages.stream(**asked(messages), thinking=SEEN) as stream:  # type: ignore[arg-type]
        kinds = [event.type async for event in stream]
        first = await stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    thinking, text, read, grep = first.content
    assert thinking.type == "thinking"
    assert thinking.thinking == "First I look: “both” at once."
    assert text.type == "text"
    assert text.text == "Looking at two things, naïvely."
    assert read.type == grep.type == "tool_use"
    assert read.input == {"path": "a.txt", "lines": 3}
    assert grep.input == {"pattern": "ü"}
    assert read.id != grep.id
    assert read.id.startswith("toolu_")
    assert first.stop_reason == "tool_use"
    assert first.usage.output_tokens > 1

    messages += [{"role": "assistant", "content": first.content}, answers(first)]
    second = await client.messages.create(**asked(messages), thinking=SEEN)  # type: ignore[call-overload]
    assert second.content[0].text == "Both are fine."
    assert second.stop_reason == "end_turn"
    assert [(record.turn, record.outcome, record.script) for record in fake.requests] == [
        (0, "completed", "two-tools"),
        (1, "completed", "two-tools"),
    ]


async def test_a_call_without_streaming_gets_the_same_blocks(fake: Running, client: AsyncAnthropic) -> None:
    fake.add_script(TWO_TOOLS)
    message = await client.messages.create(**asked("#script two-tools"), thinking=SEEN)  # type: ignore[call-overload]
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[2].input == {"path": "a.txt", "lines": 3}


async def test_thinking_comes_only_when_it_is_asked_for(client: AsyncAnthropic) -> None:
    script = inline(turns=[{"thinking": "hm", "text": "yes"}])
    off = await client.messages.create(**asked(script))
    assert [block.type for block in off.content] == ["text"]
    newest = await client.messages.create(**{**asked(script), "model": "claude-opus-5-5"})
    assert [block.type for block in newest.content] == ["thinking", "text"]
    assert newest.content[0].thinking == ""


async def test_hidden_thinking_has_a_signature_that_is_accepted_again(client: AsyncAnthropic) -> None:
    script = inline(turns=[{"thinking": "secret", "tools": [{"name": "grep"}]}, {"text": "end"}])
    messages: list[Any] = [{"role": "user", "content": script}]
    request = {**asked(messages), "model": "claude-opus-5-5"}
    async with client.messages.stream(**request) as stream:
        first = await stream.get_final_message()
    assert first.content[0].type == "thinking"
    assert first.content[0].thinking == ""
    messages += [{"role": "assistant", "content": first.content}, answers(first)]
    second = await client.messages.create(**request)
    assert second.content[0].text == "end"


async def test_a_looping_script_numbers_its_turns_and_ends_when_it_does_not_loop(client: AsyncAnthropic) -> None:
    script = inline(
        turns=[{"tools": [{"name": "grep", "input": {"pattern": "step {n}"}}], "times": 2}], then_text="Over."
    )
    messages: list[Any] = [{"role": "user", "content": script}]
    seen = []
    for _ in range(3):
        reply = await client.messages.create(**asked(messages))
        seen.append(reply.content[0].input["pattern"] if reply.stop_reason == "tool_use" else reply.content[0].text)
        messages += [{"role": "assistant", "content": reply.content}, answers(reply)]
    assert seen == ["step 1", "step 2", "Over."]


def test_a_script_of_200_turns_starts_over_when_it_loops() -> None:
    script = Script(turns=(Turn(text="{n}", times=200), Turn(text="last")), loop=True)
    assert [script.turn(index).text for index in (0, 199, 200, 201)] == ["1", "200", "last", "202"]
    assert Script().turn(5).text == "Done."


async def test_filler_and_time_stamps_come_one_delta_each_on_schedule(client: AsyncAnthropic) -> None:
    script = inline(turns=[{"text_tokens": 20, "token_ms": 10, "first_token_ms": 50, "timestamps": True}])
    begun = time.perf_counter()
    async with client.messages.stream(**asked(script)) as stream:
        deltas = [(time.time_ns(), event.text) async for event in stream if event.type == "text"]
    took = time.perf_counter() - begun
    assert len(deltas) == 20
    stamps = [int(text.removesuffix("|")) for _, text in deltas]
    assert stamps == sorted(stamps)
    assert all(got >= stamp for (got, _), stamp in zip(deltas, stamps, strict=True))
    assert 0.24 <= took < 2


async def test_a_reply_of_a_retried_turn_has_new_ids_and_the_same_place(fake: Running, client: AsyncAnthropic) -> None:
    script = inline(turns=[{"tools": [{"name": "grep"}]}])
    first, again = [await client.messages.create(**asked(script), metadata={"user_id": "s"}) for _ in range(2)]
    assert first.content[0].id != again.content[0].id
    assert [(record.session, record.turn, record.nth) for record in fake.requests] == [("s", 0, 1), ("s", 0, 2)]
    assert fake.bought() == {"s": {0: 2}}


async def test_later_questions_of_a_conversation_start_their_own_script(fake: Running, client: AsyncAnthropic) -> None:
    fake.add_script(Script(name="greet", turns=(Turn(text="hello {n}"),)))
    messages: list[Any] = [{"role": "user", "content": "#script greet"}]
    first = await client.messages.create(**asked(messages))
    messages += [{"role": "assistant", "content": first.content}]
    messages += [{"role": "user", "content": [{"type": "text", "text": "again: #script greet"}]}]
    second = await client.messages.create(**asked(messages))
    assert second.content[0].text == "hello 1"
    assert len({record.session for record in fake.requests}) == 1
    assert set(fake.bought().popitem()[1].values()) == {1}


async def test_cached_prompts_are_billed_once_and_read_later(fake: Running, client: AsyncAnthropic) -> None:
    marked = {"type": "ephemeral"}
    system: Any = [{"type": "text", "text": "s" * 4000, "cache_control": marked}]
    question: dict[str, Any] = {"type": "text", "text": inline(turns=[{"tools": [{"name": "grep"}]}, {"text": "x"}])}
    messages: list[Any] = [{"role": "user", "content": [{**question, "cache_control": marked}]}]
    first = await client.messages.create(**asked(messages), system=system)
    assert first.usage.cache_read_input_tokens == 0
    written = first.usage.cache_creation_input_tokens
    assert written is not None
    assert written > 1000
    assert first.usage.input_tokens == 0

    results = answers(first)
    results["content"][-1]["cache_control"] = marked
    later = [{"role": "user", "content": [question]}, {"role": "assistant", "content": first.content}, results]
    second = await client.messages.create(**asked(later), system=system)
    assert second.usage.cache_read_input_tokens == written
    assert second.usage.cache_creation_input_tokens
    billed = fake.requests[-1].usage
    assert billed.cache_read_input_tokens == written
    assert billed.output_tokens == second.usage.output_tokens
    async with AsyncAnthropic(api_key="another", base_url=fake.url, max_retries=0) as other:
        elsewhere = await other.messages.create(**asked(later), system=system)
    assert elsewhere.usage.cache_read_input_tokens == 0


async def test_counting_tokens_agrees_with_the_bill(client: AsyncAnthropic) -> None:
    question: Any = [{"role": "user", "content": inline(turns=[{"text": "x"}])}]
    counted = await client.messages.count_tokens(model=MODEL, messages=question, tools=TOOLS)
    bought = await client.messages.create(**asked(question))
    assert counted.input_tokens == bought.usage.input_tokens


async def test_models_are_listed(client: AsyncAnthropic) -> None:
    listed = [model.id async for model in client.models.list()]
    assert "claude-opus-5-5" in listed
    assert (await client.models.retrieve("claude-haiku-4-5")).id == "claude-haiku-4-5"


async def test_a_reply_longer_than_it_may_be_ends_there_and_all_of_it_is_paid(client: AsyncAnthropic) -> None:
    content = inline(turns=[{"text": "word " * 400, "tools": [{"name": "grep", "input": {"pattern": "x"}}]}])
    async with client.messages.stream(**{**asked(content), "max_tokens": 100}) as stream:
        message = await stream.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 100)
    assert [block.type for block in message.content] == ["text"]
    assert 350 < len(message.content[0].text) <= 400  # type: ignore[union-attr]


async def test_a_thought_is_good_for_the_model_that_had_it_alone(fake: Running, client: AsyncAnthropic) -> None:
    fake.add_script(TWO_TOOLS)
    messages: list[Any] = [{"role": "user", "content": "#script two-tools"}]
    first = await client.messages.create(**asked(messages), thinking=SEEN)  # type: ignore[call-overload]
    messages += [{"role": "assistant", "content": first.content}, answers(first)]
    other = {**asked(messages), "model": "claude-opus-4-6", "thinking": SEEN}
    with pytest.raises(BadRequestError, match="another model"):
        await client.messages.create(**other)
    messages[1]["content"] = [block for block in first.content if block.type != "thinking"]
    await client.messages.create(**other)
    with pytest.raises(BadRequestError, match="must start with a thinking block"):
        await client.messages.create(**{**other, "model": MODEL})
