"""Claims about holding answers against schemas: in a process of its own, bounded, and nothing is fetched."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from activities.results import Validators, offered_with
from activities.tools import TOOLS
from session.masking import Masker

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "ages": {"type": "array", "items": {"$ref": "#/$defs/age"}}},
    "required": ["name"],
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}
SLOW = {"type": "string", "pattern": "^(a+)+$"}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        PERSON,
        SLOW,
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/x", "$ref": "#/$defs/a"}
        | {"$defs": {"a": {"type": "null"}}},
    ],
)
async def test_a_schema_of_a_known_draft_is_taken(schema: dict[str, Any]) -> None:
    assert await Validators().fault_of_schema(schema) is None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "text"}, "`type`"),
        ({"properties": []}, "`properties`"),
        ({"$schema": "https://example.com/mine"}, "no draft"),
        ({"$schema": 7}, "no draft"),
        ({"properties": {"a": {"pattern": "("}}}, "'('"),
        ({"patternProperties": {"[": {}}}, "'['"),
        ({"$ref": "#/$defs/none"}, "refers to nothing"),
        ({"properties": {"a": {"items": {"$ref": "#/$defs/none"}}}}, "refers to nothing"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "$ref": "#/definitions/none"}, "refers to nothing"),
        ({"$ref": "#"}, "without end"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "only references inside"),
    ],
)
async def test_what_is_no_schema_or_leads_nowhere_is_told(schema: dict[str, Any], told: str) -> None:
    assert told in (await Validators().fault_of_schema(schema) or "")


async def test_a_reply_that_keeps_to_the_schema_is_a_result_and_secrets_in_it_are_masked() -> None:
    masker = Masker(["hunter2-hunter2"])
    text = '```json\n{"name": "hunter2-hunter2", "ages": [1, 2]}\n```'
    answer = await Validators().of_reply(PERSON, text, masker)
    assert answer.value is not None and answer.fault == ""
    told = json.loads(answer.value)
    assert told["ages"] == [1, 2] and "hunter2" not in told["name"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Done.", "not JSON"),
        (
            '{"ages": [1, -1, "x"]}',
            "`ages.1`: -1 is less than the minimum of 0; `ages.2`: 'x' is not of type 'integer'; 'name' is",
        ),
        ('{"name": 1}', "`name`: 1 is not of type 'string'"),
        ('{"name": "\\ud800"}', "surrogate"),
    ],
)
async def test_what_is_wrong_with_another_is_told_with_its_place(text: str, told: str) -> None:
    answer = await Validators().of_reply(PERSON, text, Masker())
    assert answer.value is None and told in answer.fault


async def test_only_so_many_faults_are_told_and_long_values_are_cut() -> None:
    answer = await Validators().of_reply({"items": {"type": "integer"}}, json.dumps(["x" * 10_000] * 50), Masker())
    assert answer.fault.count("is not of type") <= 10 and len(answer.fault) < 4_000


async def test_a_pattern_that_would_match_for_years_ends_soon_and_is_no_result() -> None:
    began = time.monotonic()
    answer = await Validators().of_reply(SLOW, json.dumps("a" * 60 + "!"), Masker())
    assert answer.value is None and "too long" in answer.fault
    assert time.monotonic() - began < 20


async def test_references_that_multiply_end_soon_too() -> None:
    defs: dict[str, Any] = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**defs, "a40": {}}}
    assert "too long" in (await Validators().fault_of_schema(schema) or "")


async def test_complete_task_takes_the_result_beside_its_other_arguments() -> None:
    tools = offered_with(PERSON, {"complete_task": TOOLS["complete_task"].tool()})
    schema = tools["complete_task"].input_schema
    assert set(schema["required"]) == {"summary", "result"}
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    assert check.is_valid({"summary": "s", "result": {"name": "n", "ages": [1]}})
    assert not check.is_valid({"summary": "s", "result": {"name": "n", "ages": [-1]}})
    assert not check.is_valid({"summary": "s"})
    assert "result" not in TOOLS["complete_task"].tool().input_schema["properties"]
    assert offered_with(PERSON, {}) == {}


async def test_a_completion_without_a_result_is_told_so() -> None:
    assert "missing" in (await Validators().of_completion(PERSON, {"summary": "s"}, Masker())).fault
    answer = await Validators().of_completion({"type": "null"}, {"summary": "s", "result": None}, Masker())
    assert answer.value == "null"
    odd = await Validators().of_completion({}, {"summary": "s", "result": float("inf")}, Masker())
    assert odd.value is None and "infinite" in odd.fault
