"""Putting a reply together: exactly as received, and a cut is a cut."""

from __future__ import annotations

from typing import Any

import pytest

from activities.provider_errors import Cut
from activities.reply import DEEPEST, ReplyBuilder, digest, text_of, thinking_of
from session.usage import Usage


def start(**usage: int) -> dict[str, Any]:
    counted = {"input_tokens": 5, "output_tokens": 1, **usage}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": counted}
    return {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}}


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": content}


def ended(reason: str = "end_turn", **usage: int) -> list[dict[str, Any]]:
    told = {"output_tokens": 9, **usage}
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": told},
        {"type": "message_stop"},
    ]


def built(*events: dict[str, Any]) -> tuple[ReplyBuilder, list[Any]]:
    builder = ReplyBuilder()
    fragments = [builder.feed(event) for event in events]
    return builder, [fragment for fragment in fragments if fragment]


TOOL = [
    block(2, type="tool_use", id="t1", name="exec", input={}),
    delta(2, type="input_json_delta", partial_json='{"command": '),
    delta(2, type="input_json_delta", partial_json='"ls"}'),
]


def test_blocks_come_out_as_they_came_in_with_their_signature() -> None:
    builder, fragments = built(
        start(cache_read_input_tokens=7),
        block(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm "),
        delta(0, type="thinking_delta", thinking="so"),
        delta(0, type="signature_delta", signature="sig"),
        block(1, type="text", text=""),
        delta(1, type="text_delta", text="hi "),
        delta(1, type="text_delta", text="there"),
        *TOOL,
        *ended("tool_use"),
    )
    blocks = builder.blocks()
    assert blocks == [
        {"type": "thinking", "thinking": "hm so", "signature": "sig"},
        {"type": "text", "text": "hi there"},
        {"type": "tool_use", "id": "t1", "name": "exec", "input": {"command": "ls"}},
    ]
    assert fragments == [("thinking", "hm "), ("thinking", "so"), ("text", "hi "), ("text", "there")]
    assert (text_of(blocks), thinking_of(blocks)) == ("hi there", "hm so")
    assert builder.usage == Usage(5, 9, 7, 0)


@pytest.mark.parametrize("text", ["", "\n\n", " \t"])
def test_blank_text_is_left_out_since_the_api_refuses_it_back(text: str) -> None:
    builder, _ = built(start(), block(0, type="text", text=""), delta(0, type="text_delta", text=text), *ended())
    assert builder.blocks() == []


def test_a_stream_without_its_end_is_a_cut() -> None:
    builder, _ = built(start(), block(0, type="text", text=""), delta(0, type="text_delta", text="half"))
    with pytest.raises(Cut):
        builder.blocks()
    assert builder.partial_blocks() == [{"type": "text", "text": "half"}]


def test_a_tool_input_that_is_not_whole_json_is_a_cut_unless_the_output_limit_cut_it() -> None:
    builder, _ = built(
        start(), block(0, type="text", text="a"), block(1, type="text", text="b"), *TOOL[:2], *ended("tool_use")
    )
    with pytest.raises(Cut):
        builder.blocks()
    builder, _ = built(
        start(), block(0, type="text", text="a"), block(1, type="text", text="b"), *TOOL[:2], *ended("max_tokens")
    )
    assert builder.blocks()[-1]["input"] == {}


def test_a_tool_without_input_gets_an_empty_one() -> None:
    builder, _ = built(start(), block(0, type="tool_use", id="t", name="directory_tree", input={}), *ended("tool_use"))
    assert builder.blocks()[0]["input"] == {}


def test_a_partial_reply_keeps_neither_thoughts_nor_calls() -> None:
    builder, _ = built(
        start(), block(0, type="thinking", thinking="x", signature=""), block(1, type="text", text=""), *TOOL
    )
    assert builder.partial_blocks() == []


def test_lone_surrogates_in_text_and_input_are_replaced_since_nothing_could_store_them() -> None:
    broken = '{"command": "\\ud800 x"}'
    builder, fragments = built(
        start(),
        block(0, type="text", text=""),
        delta(0, type="text_delta", text="a\ud800 \U0001f600"),
        block(1, type="tool_use", id="t", name="exec", input={}),
        delta(1, type="input_json_delta", partial_json=broken),
        *ended("tool_use"),
    )
    assert fragments == [("text", "a\ufffd \U0001f600")]
    assert builder.blocks()[1]["input"] == {"command": "\ufffd x"}


def test_digests_tell_same_from_other() -> None:
    assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
    assert digest("a", {"x": 1}) != digest("a", {"x": 2})
    assert digest("a", {"x": 1}) != digest("b", {"x": 1})


@pytest.mark.parametrize(("levels", "deep"), [(DEEPEST, False), (DEEPEST + 1, True), (100_000, True)])
def test_arguments_nested_deeper_than_can_be_walked_are_left_out_and_the_call_is_marked(
    levels: int, deep: bool
) -> None:
    given = '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"
    begun = block(0, type="tool_use", id="t1", name="exec", input={})
    said = delta(0, type="input_json_delta", partial_json=given)
    builder, _ = built(start(), begun, said, *ended("tool_use"))
    (told,) = builder.blocks()
    assert (builder.deep, told["input"] == {}) == ({"t1"} if deep else set(), deep)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "message_start"},
        {"type": "message_start", "message": {"usage": None}},
        {"type": "content_block_start", "index": 0},
        {"type": "message_delta", "delta": None},
        delta(7, type="text_delta", text="to a block that never began"),
        delta(0, type="text_delta", text=None),
        delta(0, type="input_json_delta"),
        delta(0),
    ],
)
def test_an_event_that_lacks_what_its_type_has_is_a_cut(event: dict[str, Any]) -> None:
    builder, _ = built(start(), block(0, type="text", text=""))
    with pytest.raises(Cut):
        builder.feed(event)
