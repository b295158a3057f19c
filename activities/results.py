"""Structured results: whether a session's final answer keeps to the schema that it was started with (`responseSchema`).

The answer comes with `complete_task`, whose arguments then have one more, `result`, or as a reply without calls. What
becomes of one that does not keep to the schema is decided where it is recorded (store/results.py). The provider's own
structured output (`output_config.format`) is not used: how it goes with tools and thinking differs from model to model,
and it takes only a part of JSON Schema.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from activities.tools.process import surely
from activities.tools.scan import killed
from session.masking import Masker
from session.model import storable
from session.structured import read_json, schema_fault, value_fault, within
from session.tooling import Tool
from session.vocabulary import COMPLETE_TASK
from store.results import Answer

VALIDATOR: Final = Path(__file__).with_name("validator.py")
RESULT: Final = "result"
"""The argument of `complete_task` that sessions with a schema have beside the others."""
_TOO_LONG: Final = "checking it takes too long: simpler patterns and fewer alternatives in the schema would help"
_ABSENT: Final = "`result` is missing, it is required"


def schema_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a session's row; sessions of before have none."""
    schema: dict[str, Any] | None = json.loads(row["settings"]).get("responseSchema")
    return schema


async def fault_of_schema(schema: dict[str, Any]) -> str | None:
    """Why no session can be started with this schema; None where one can."""
    return schema_fault(schema) or "; ".join(await _asked({"schema": schema})) or None


def offered_with(schema: dict[str, Any], tools: dict[str, Tool]) -> dict[str, Tool]:
    """The tools of a session with a schema: its `complete_task` takes the result too."""
    tool = tools.get(COMPLETE_TASK)
    if tool is None:
        return tools
    given = tool.input_schema
    properties = {**given["properties"], RESULT: within(schema, f"/properties/{RESULT}")}
    required = [*given.get("required", ()), RESULT]
    asked = {**given, "properties": properties, "required": required}
    return {**tools, COMPLETE_TASK: tool.model_copy(update={"input_schema": asked})}


async def answer_of_reply(schema: dict[str, Any], text: str, masker: Masker) -> Answer:
    """What the text of a reply without calls is as a result."""
    try:
        value = read_json(text)
    except ValueError as error:
        return Answer(fault=str(error)[:300])
    return await _answer(schema, value, masker)


async def answer_of_completion(schema: dict[str, Any], arguments: Mapping[str, Any], masker: Masker) -> Answer:
    """What the arguments of a `complete_task` hold as a result."""
    if RESULT not in arguments:
        return Answer(fault=_ABSENT)
    return await _answer(schema, arguments[RESULT], masker)


async def _answer(schema: dict[str, Any], value: Any, masker: Masker) -> Answer:
    if (fault := value_fault(value)) is not None:
        return Answer(fault=fault)
    if faults := await _asked({"schema": schema, "value": value}):
        return Answer(fault=storable(masker.mask("; ".join(faults))))
    return Answer(json.dumps(masker.value(value), ensure_ascii=False))


async def _asked(question: dict[str, Any]) -> list[str]:
    """The validator's faults; one that says so where it did not come to an end."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(VALIDATOR)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
    except OSError as error:
        return [f"it could not be checked ({error.strerror})"]
    try:
        said, _ = await process.communicate(json.dumps(question).encode())
    finally:
        await surely(killed(process))
    if process.returncode == 0:
        faults: list[str] = json.loads(said)
        return faults
    if process.returncode in (-signal.SIGPROF, -signal.SIGALRM):
        return [_TOO_LONG]
    return [f"it could not be checked (exit code {process.returncode})"]
