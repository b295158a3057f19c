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
from collections import OrderedDict
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
KEPT_SCHEMAS: Final = 64
_TOO_LONG: Final = "checking it takes too long: simpler patterns and fewer alternatives in the schema would help"
_ABSENT: Final = "`result` is missing, it is required"


def schema_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a session's row; sessions of before have none."""
    schema: dict[str, Any] | None = json.loads(row["settings"]).get("responseSchema")
    return schema


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


class Validators:
    """Holds schemas and values against each other, each in a process of its own (activities/validator.py), of which
    only so many run at once. One for each process of the service."""

    def __init__(self, at_once: int = 4) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._good: OrderedDict[str, None] = OrderedDict()

    async def fault_of_schema(self, schema: dict[str, Any]) -> str | None:
        """Why no session can be started with this schema; None where one can. Those that can are remembered: clients
        send the same one again and again."""
        if (fault := schema_fault(schema)) is not None:
            return fault
        text = json.dumps(schema, sort_keys=True)
        if text in self._good:
            return None
        if faults := await self._asked({"schema": schema}):
            return "; ".join(faults)
        self._good[text] = None
        while len(self._good) > KEPT_SCHEMAS:
            self._good.popitem(last=False)
        return None

    async def of_reply(self, schema: dict[str, Any], text: str, masker: Masker) -> Answer:
        """What the text of a reply without calls is as a result."""
        try:
            value = read_json(text)
        except ValueError as error:
            return Answer(fault=str(error)[:300])
        return await self._answer(schema, value, masker)

    async def of_completion(self, schema: dict[str, Any], arguments: Mapping[str, Any], masker: Masker) -> Answer:
        """What the arguments of a `complete_task` hold as a result."""
        if RESULT not in arguments:
            return Answer(fault=_ABSENT)
        return await self._answer(schema, arguments[RESULT], masker)

    async def _answer(self, schema: dict[str, Any], value: Any, masker: Masker) -> Answer:
        if (fault := value_fault(value)) is not None:
            return Answer(fault=fault)
        if faults := await self._asked({"schema": schema, "value": value}):
            return Answer(fault=storable(masker.mask("; ".join(faults))))
        return Answer(json.dumps(masker.value(value), ensure_ascii=False))

    async def _asked(self, question: dict[str, Any]) -> list[str]:
        """The faults that are found; one that says so where the process did not come to an end."""
        async with self._places:
            try:
                code, said = await _validated(json.dumps(question).encode())
            except OSError as error:
                return [f"it could not be checked ({error.strerror})"]
        if code == 0:
            faults: list[str] = json.loads(said)
            return faults
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            return [_TOO_LONG]
        return [f"it could not be checked (exit code {code})"]


async def _validated(question: bytes) -> tuple[int | None, bytes]:
    """Exit code and words of a validator. Raises OSError when none could be started."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(VALIDATOR)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate(question)
    finally:
        await surely(killed(process))
    return process.returncode, said
