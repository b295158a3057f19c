"""Claims about structured results: which schemas may be asked for, and what of a reply is its JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.structured import MOST_SCHEMA_BYTES, read_json, schema_fault, value_fault, within


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"$ref": "https://example.com/a.json"}, "only references inside"),
        ({"properties": {"a": {"items": [{"$ref": "other.json#/a"}]}}}, "other.json"),
        ({"$dynamicRef": "file:///etc/passwd"}, "only references inside"),
        (nested(65), "64 levels"),
        ({"description": "x" * MOST_SCHEMA_BYTES}, "65536 bytes"),
    ],
)
def test_a_schema_that_reaches_out_or_is_too_large_is_refused(schema: dict[str, Any], told: str) -> None:
    assert told in (schema_fault(schema) or "")


@pytest.mark.parametrize(
    "schema",
    [{}, nested(64), {"$ref": "#/$defs/a", "$defs": {"a": {}}}, {"properties": {"$ref": {"type": "string"}}}],
)
def test_others_are_not(schema: dict[str, Any]) -> None:
    assert schema_fault(schema) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (' {"a": 1} \n', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ("```\n[1]\n```", [1]),
        ('Here it is:\n\n```JSON\n{"a": "`b`"}\n```\nDone.', {"a": "`b`"}),
        ('{"a": "```json\\n1\\n```"}', {"a": "```json\n1\n```"}),
        ("null", None),
    ],
)
def test_a_reply_is_read_as_json_alone_or_in_a_fence(text: str, value: Any) -> None:
    assert read_json(text) == value


@pytest.mark.parametrize("text", ["", "Done.", '{"a": 1', '{"a": 1} and more', "```\n1\n```\n```\n2\n```", "1" * 5000])
def test_what_is_not_json_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"not JSON|digits"):
        read_json(text)


def test_json_without_a_bottom_is_told() -> None:
    with pytest.raises(ValueError, match="64 levels"):
        read_json("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize("text", ['"\\ud800"', "1e999", "NaN", '{"a": -Infinity}', "[" * 65 + "]" * 65])
def test_a_value_that_could_not_be_sent_again_is_told(text: str) -> None:
    assert value_fault(read_json(text)) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["$ref", "$id", "pattern", "properties"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(st.text() | JSON.map(json.dumps))
def test_whatever_a_reply_is_it_is_read_or_told_why_not(text: str) -> None:
    try:
        value = read_json(text)
    except ValueError:
        return
    if value_fault(value) is None:
        assert json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False)) == value


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_whatever_a_schema_is_it_can_be_looked_at_and_moved(schema: dict[str, Any]) -> None:
    moved = within(schema, "/properties/result")
    assert set(moved) == set(schema) - {"$id", "$schema"}
    assert schema_fault(moved) == schema_fault({name: schema[name] for name in moved})


def test_inside_another_schema_its_references_follow_it() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/tree",
        "$ref": "#/$defs/node",
        "$defs": {"node": {"properties": {"children": {"items": {"$ref": "#/$defs/node"}}, "root": {"$ref": "#"}}}},
    }
    moved = within(schema, "/properties/result")
    node = moved["$defs"]["node"]["properties"]
    assert moved["$ref"] == node["children"]["items"]["$ref"] == "#/properties/result/$defs/node"
    assert node["root"]["$ref"] == "#/properties/result"
    assert not {"$schema", "$id"} & set(moved)
