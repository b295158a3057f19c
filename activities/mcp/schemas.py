"""What MCP servers say their tools take: made fit for the model's API, and held against what the model sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

MOST_FAULTS: Final = 8
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COMBINED: Final = ("anyOf", "oneOf", "allOf", "not", "if", "then", "else")

Check = Callable[[Mapping[str, Any]], list[str]]


class Unusable(Exception):
    """A schema that the model's API would refuse, and with it every request that offers the tool."""


def shown(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as models are shown it: as it came, but for what the model's API does not take at the top (one object,
    no alternatives there). Raises Unusable."""
    try:
        _kind(schema).check_schema(schema)
    except SchemaError as error:
        raise Unusable(f"its schema is none: {error.message[:200]}") from None
    if schema.get("type", "object") != "object":
        raise Unusable("its arguments are not an object")
    for name in schema.get("properties", {}):
        if not _PROPERTY.fullmatch(name):
            raise Unusable(f"the name of its argument {name[:80]!r} is not one that models can be given")
    return {"type": "object", **{key: value for key, value in schema.items() if key not in _COMBINED}}


def checker(schema: Mapping[str, Any]) -> Check:
    """Tells what is wrong with arguments, a clause for each fault, the field first; nothing is wrong with none.

    Nothing is fetched. What cannot be checked here is left to the server: what a schema refers to elsewhere, patterns
    in another dialect than Python's (the standard has JavaScript's), references that go round in a circle.
    """
    # The registry is empty and stays so; without one the library would fetch what `$ref` names.
    validator = _kind(schema)(schema, registry=Registry())

    def check(arguments: Mapping[str, Any]) -> list[str]:
        try:
            return [_told(fault) for fault in islice(validator.iter_errors(arguments), MOST_FAULTS)]
        except (Unresolvable, re.error, RecursionError):
            return []

    return check


def _kind(schema: Mapping[str, Any]) -> Any:
    return validator_for(schema, default=Draft202012Validator)


def _told(fault: ValidationError) -> str:
    field = ".".join(str(part) for part in fault.absolute_path)[:100]
    message = fault.message if len(fault.message) <= 200 else f"{fault.message[:200]}…"
    return f"`{field}`: {message}" if field else message
