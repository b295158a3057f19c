"""What becomes of a call that a model asked for, where its arguments are odd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from activities.catalog import Catalog
from activities.judging import Judging
from activities.tools import TOOLS
from session.masking import Masker
from session.policy import ToolPolicy
from session.security import Rules


def odd(effect_of: Callable[[Any], Any]) -> Catalog:
    spec = replace(TOOLS["read_file"], name="odd", effect_of=effect_of)
    return Catalog(ToolPolicy(), [spec])


def judging(catalog: Catalog, **details: Any) -> Judging:
    return Judging(Rules("full"), {tool.name: tool for tool in catalog.tools()}, catalog, Masker(), **details)


@pytest.mark.parametrize("effect_of", [lambda given: given["absent"], lambda _given: "whatever", lambda _given: None])
def test_a_tool_that_cannot_tell_its_effect_is_taken_to_have_one(effect_of: Callable[[Any], Any]) -> None:
    call = judging(odd(effect_of)).call("t1", "odd", {"path": 7})
    assert (call.ref.effect, call.ref.gate) == ("sideEffect", "run")


def test_a_call_whose_arguments_were_too_deep_is_refused_and_says_why() -> None:
    call = judging(Catalog(ToolPolicy()), deep={"t1"}).call("t1", "git_status", {})
    assert call.ref.gate == "refuse" and call.refusal is not None
    assert call.refusal.code == "INVALID_ARGUMENTS" and "levels deep" in call.refusal.message


@pytest.mark.parametrize("value", [None, 7, [], {}, True, "\x00", "ü\u2028", {"a": [1]}])
def test_no_builtin_tool_trips_over_arguments_of_another_kind(value: Any) -> None:
    judged = judging(Catalog(ToolPolicy()))
    for name, spec in TOOLS.items():
        for field, told in spec.arguments.model_fields.items():
            judged.call("t1", name, {told.alias or field: value})
