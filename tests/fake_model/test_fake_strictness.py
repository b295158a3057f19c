"""What the fake refuses, each a change of one good request."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from fake_model.serve import Running
from tests.fake_model.good import MARK, Request, good, result, send, text, use

Change = Callable[[Request], object]
OLD_VERSION = {"anthropic-version": "2023-06-01"}


def put(path: str, value: Any) -> Change:
    """Sets the value at a dotted path; a `+` at its end inserts into the list before that index."""

    def change(request: Request) -> None:
        *way, last = path.split(".")
        at: Any = request
        for part in way:
            at = at[int(part)] if part.isdigit() else at[part]
        if last.endswith("+"):
            at.insert(int(last[:-1]), value)
        else:
            at[int(last) if last.isdigit() else last] = value

    return change


def drop(path: str) -> Change:
    def change(request: Request) -> None:
        *way, last = path.split(".")
        at: Any = request
        for part in way:
            at = at[int(part)] if part.isdigit() else at[part]
        del at[int(last) if last.isdigit() else last]

    return change


def model(name: str, **more: Any) -> Change:
    return lambda request: request.update(model=name, **more)


REFUSALS: list[tuple[Change, str]] = [
    (drop("max_tokens"), "max_tokens: Field required"),
    (put("max_tokens", 0), "max_tokens: Input should be greater than or equal to 1"),
    (put("max_tokens", "9"), "max_tokens: Input should be a valid integer"),
    (put("max_tokens", 500_000), "max_tokens: 500000 > 128000"),
    (drop("model"), "model: Field required"),
    (put("unheard_of", 1), "unheard_of: Extra inputs are not permitted"),
    (put("messages", []), "messages: at least one message is required"),
    (drop("messages.0"), 'messages: first message must use the "user" role'),
    (put("messages.1+", {"role": "user", "content": "more"}), 'found multiple "user" roles in a row'),
    (put("messages.0.role", "system"), "messages.0.role: Input should be 'user' or 'assistant'"),
    (put("messages.0.name", "me"), "messages.0.name: Extra inputs are not permitted"),
    (put("messages.0.content", []), "messages.0: user messages must have non-empty content"),
    (put("messages.0.content", ""), "messages.0.content: text content blocks must be non-empty"),
    (put("messages.0.content.0.text", ""), "messages.0.content.0.text: text content blocks must be non-empty"),
    (put("messages.0.content.0.text", " \n"), "must contain non-whitespace text"),
    (put("messages.0.content.0.extra", 1), "messages.0.content.0.text.extra: Extra inputs are not permitted"),
    (put("messages.0.content.0.type", "txt"), "messages.0.content.0: Input tag 'txt' found"),
    (put("messages.0.content.0", use()), "`tool_use` blocks are not permitted in user messages"),
    (put("messages.1.content.0", result()), "`tool_result` blocks are not permitted in assistant messages"),
    (drop("messages.2"), "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    (drop("messages.2.content.1"), "immediately after: toolu_2."),
    (put("messages.2.content.0.tool_use_id", "toolu_9"), "messages.2.content.0: unexpected `tool_use_id` found"),
    (put("messages.2.content.2+", result()), "messages.2.content.2: each tool_use must have a single result"),
    (put("messages.2.content.0+", text()), "messages.2.content.1: `tool_result` blocks must come first"),
    (put("messages.1.content.2.id", "toolu_1"), "messages.1.content.2: `tool_use` ids must be unique"),
    (put("messages.1.content.1.input", "x"), "messages.1.content.1.tool_use.input: Input should be a valid dict"),
    (put("messages.1.content.1.name", "rm"), "messages.1.content.1.tool_use.name: Tool 'rm' not found"),
    (drop("tools"), "Requests which include `tool_use` or `tool_result` blocks must define tools"),
    (put("messages.2.content.0", result(is_error=True, content="")), "content cannot be empty if `is_error` is true"),
    (put("messages.2.content.0.content", [text("")]), "messages.2.content.0.tool_result.content.0.text: text content"),
    (put("messages.2.content.0.status", "ok"), "messages.2.content.0.tool_result.status: Extra inputs"),
    (put("tools.0.name", "no spaces"), "tools.0.custom.name: String should match pattern"),
    (put("tools.1.name", "grep"), "tools: Tool names must be unique."),
    (drop("tools.0.input_schema"), "tools.0.custom.input_schema: Field required"),
    (put("tools.0.input_schema", {"type": "array"}), "tools.0.custom.input_schema.type: Input should be 'object'"),
    (put("tools.0.effect", "readOnly"), "tools.0.custom.effect: Extra inputs are not permitted"),
    (put("tool_choice", {"type": "tool", "name": "rm"}), "Tool 'rm' not found in provided tools"),
    (put("system", [text("")]), "system.0.text: text content blocks must be non-empty"),
    (put("system", 5), "system: Input should be a valid list"),
    (put("metadata", {"user": "me"}), "metadata.user: Extra inputs are not permitted"),
    (put("stop_sequences", [" "]), "stop_sequences.0: each stop sequence must contain non-whitespace"),
    (put("messages.0.content.0.cache_control", {"type": "forever"}), "cache_control.type: Input should be 'ephemeral'"),
    (
        lambda request: [block.update(cache_control=MARK) for block in request["messages"][2]["content"]],
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        put("messages.1.content.0+", {"type": "thinking", "thinking": "hm", "signature": "forged"}),
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ),
    (
        put("messages.1.content.0+", {"type": "thinking", "thinking": "hm", "signature": "x", "cache_control": MARK}),
        "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted",
    ),
    (
        put("messages.1.content.3+", {"type": "thinking", "thinking": "hm", "signature": "x"}),
        "messages.1: The final block in an assistant message cannot be `thinking`.",
    ),
    (put("messages.3+", {"role": "assistant", "content": "So"}), "does not support assistant message prefill"),
    (put("thinking", {"type": "sometimes"}), "thinking.type: Input should be"),
    (put("thinking", {"type": "enabled"}), "thinking.enabled.budget_tokens: Field required"),
    (put("thinking", {"type": "enabled", "budget_tokens": 1000}), "greater than or equal to 1024"),
    (put("thinking", {"type": "enabled", "budget_tokens": 2000}), "`max_tokens` must be greater than"),
    (put("thinking", {"type": "adaptive", "budget_tokens": 2000}), "thinking.adaptive.budget_tokens: Extra inputs"),
    (model("claude-opus-4-7", thinking={"type": "enabled", "budget_tokens": 1024}), '"thinking.type.enabled" is not'),
    (model("claude-sonnet-5", thinking={"type": "enabled", "budget_tokens": 1024}), '"thinking.type.enabled" is not'),
    (model("claude-opus-5-5", thinking={"type": "disabled"}), '"thinking.type.disabled" is not supported'),
    (model("claude-haiku-4-5", thinking={"type": "adaptive"}), "adaptive thinking is not supported on this model"),
    (model("claude-opus-5-5", tool_choice={"type": "any"}), "forced tool use is not supported"),
    (put("output_config", {"effort": "huge"}), "output_config.effort: Input should be 'low', 'medium', 'high'"),
    (model("claude-sonnet-4-5", output_config={"effort": "low"}), "does not support the effort parameter"),
    (model("claude-opus-4-5", output_config={"effort": "max"}), "does not support effort level 'max'"),
    (put("temperature", 1), "temperature: Extra inputs are not permitted"),
]
SAMPLING: list[tuple[Change, str]] = [
    (put("temperature", 1.5), "temperature: Input should be less than or equal to 1"),
    (put("temperature", True), "temperature: Input should be a valid number"),
    (model("claude-opus-4-7", temperature=0.5), "`temperature` is deprecated for this model."),
    (model("claude-haiku-5-5", top_p=0.5), "`top_p` is deprecated for this model."),
    (model("claude-haiku-5-5", top_k=5), "`top_k` is deprecated for this model."),
    (
        lambda request: request.update(temperature=0.5, thinking={"type": "adaptive"}),
        "`temperature` may only be set to 1 when thinking is enabled",
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSALS, ids=[said for _, said in REFUSALS])
async def test_a_bad_request_is_refused_with_the_place(
    fake: Running, client: AsyncAnthropic, change: Change, said: str
) -> None:
    request = deepcopy(good())
    change(request)
    with pytest.raises(anthropic.BadRequestError) as caught:
        await send(client, request)
    assert caught.value.type == "invalid_request_error"
    assert said in (caught.value.api_message or "")
    assert fake.requests[-1].outcome == "refused"
    assert fake.bought() == {}


@pytest.mark.parametrize(("change", "said"), SAMPLING, ids=[said for _, said in SAMPLING])
async def test_sampling_of_the_old_api_version_follows_the_model(
    client: AsyncAnthropic, change: Change, said: str
) -> None:
    request = deepcopy(good())
    change(request)
    with pytest.raises(anthropic.BadRequestError) as caught:
        await send(client, request, OLD_VERSION)
    assert said in (caught.value.api_message or "")


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        (model("claude-sonnet-4-6"), {}),
        (model("claude-haiku-4-5", temperature=0.3), OLD_VERSION),
        (model("claude-haiku-4-5", thinking={"type": "enabled", "budget_tokens": 1024}), {}),
        (model("claude-opus-4-5", output_config={"effort": "high"}), {}),
        (model("claude-opus-4-8", output_config={"effort": "xhigh"}, thinking={"type": "disabled"}), {}),
        (model("claude-someday-7", thinking={"type": "adaptive", "display": "omitted"}), {}),
        (put("messages.2.content.0", {"type": "tool_result", "tool_use_id": "toolu_1"}), {}),
        (put("system", "Plain."), {}),
        (put("cache_control", MARK), {}),
    ],
)
async def test_a_good_request_is_served(client: AsyncAnthropic, change: Change, headers: dict[str, str]) -> None:
    request = deepcopy(good())
    change(request)
    reply = await send(client, request, headers)
    assert reply["content"][-1]["text"] == "fine"


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"authorization": "Basic YTpi"}, 401, "x-api-key header is required"),
        ({"x-api-key": "an invalid one"}, 401, "invalid x-api-key"),
        ({"anthropic-version": ""}, 400, "anthropic-version: header is required"),
        ({"anthropic-version": "yesterday"}, 400, '"yesterday" is not a valid version'),
    ],
)
async def test_headers_are_checked_first(
    client: AsyncAnthropic, headers: dict[str, str], status: int, said: str
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await send(client, {"nothing": "good"}, headers)
    assert caught.value.status_code == status
    assert said in (caught.value.api_message or "")


async def test_models_of_other_makers_are_not_found(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: gpt-9"):
        await send(client, good("gpt-9"))


async def test_a_body_over_32_mb_is_too_large(client: AsyncAnthropic) -> None:
    request = good()
    request["messages"][0]["content"][0]["text"] = "x" * (32 * 1024 * 1024)
    with pytest.raises(anthropic.ContentTooLargeError) as caught:
        await send(client, request)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "request_too_large"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("```script\n{nope}\n```", "script: Invalid JSON"),
        ('```script\n{"turns": [{"txt": "x"}]}\n```', "script.turns.0.txt: Extra inputs are not permitted"),
        ("#script missing", "there is no script named 'missing'"),
        (
            '```script\n{"turns": [{"tools": [{"name": "exec"}]}]}\n```',
            "calls `exec`, which the request does not declare",
        ),
    ],
)
async def test_a_script_that_cannot_be_played_is_refused(client: AsyncAnthropic, message: str, said: str) -> None:
    request = good()
    request["messages"] = [{"role": "user", "content": message}]
    with pytest.raises(anthropic.BadRequestError) as caught:
        await send(client, request)
    assert said in (caught.value.api_message or "")
