"""Structured results: the JSON Schema that a session's final answer keeps to, and how the answer is read.

Pure: what the schema itself may look like, and where JSON stands in a reply. Whether a value keeps to the schema is
found out in activities/results.py, in a process that can be ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST_SCHEMA_BYTES: Final = 64 * 1024
DEEPEST: Final = 64
"""Levels of lists and objects in a schema and in a result. What walks them goes down by recursion."""

_TOO_DEEP: Final = f"the JSON is nested more than {DEEPEST} levels deep"
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_FENCED: Final = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


def schema_fault(schema: Mapping[str, Any]) -> str | None:
    """Why a session cannot be started with this schema, as far as it shows by itself; None where it can."""
    if is_deeper(schema, DEEPEST):
        return f"must not be nested more than {DEEPEST} levels deep"
    if len(json.dumps(schema, ensure_ascii=False).encode()) > MOST_SCHEMA_BYTES:
        return f"must have at most {MOST_SCHEMA_BYTES} bytes as JSON"
    for reference in _references(schema):
        if not reference.startswith("#"):
            return f"refers to {reference[:100]!r}; only references inside the schema (#/…) are followed"
    return None


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, Mapping):
        for name, value in node.items():
            if name in _REFERENCES and isinstance(value, str):
                yield value
            else:
                yield from _references(value)


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects stand within each other at more than so many levels."""
    held = [value]
    for _ in range(levels + 1):
        held = [one for one in held if isinstance(one, list | dict)]
        if not held:
            return False
        held = [inner for one in held for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def within(schema: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The schema as a part of another one, at `place` (a JSON pointer): its references follow it there."""
    told: dict[str, Any] = _moved(schema, place)
    return {name: value for name, value in told.items() if name not in ("$schema", "$id")}


def _moved(node: Any, place: str) -> Any:
    if isinstance(node, list):
        return [_moved(item, place) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {
        name: f"#{place}{value[1:]}" if name in _REFERENCES and _is_pointer(value) else _moved(value, place)
        for name, value in node.items()
    }


def _is_pointer(value: Any) -> bool:
    return isinstance(value, str) and (value == "#" or value.startswith("#/"))


def read_json(text: str) -> Any:
    """The value that a reply is, perhaps in a fence (with words around it). Raises ValueError, which says what is
    wrong."""
    fences = _FENCED.findall(text)
    try:
        return json.loads(fences[0] if len(fences) == 1 else text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the reply is not JSON: {error}") from None


def value_fault(value: Any) -> str | None:
    """Why a value cannot be kept as a result and sent again, whatever the schema says; None where it can."""
    if is_deeper(value, DEEPEST):
        return _TOO_DEEP
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return "a string has half a surrogate pair (U+D800 to U+DFFF), which is not valid text"
    except ValueError:
        return "a number is infinite or none (NaN), which JSON does not have"
    return None
