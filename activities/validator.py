"""The validator: a short-lived process that holds a value against a JSON Schema, or looks at the schema itself.

Started as `python -I validator.py`; `{"schema", "value"?}` as JSON on stdin, a list of faults as JSON on stdout, each a
sentence. A process of its own, because the schema comes from outside: a pattern such as `(a+)+$`, or references that
multiply, would hold the interpreter for hours and cannot be interrupted. It ends itself by a timer over its CPU time
(death by SIGPROF) and one over the clock (SIGALRM). Nothing is fetched. It imports nothing of the project.
"""

import json
import re
import resource
import signal
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

CPU_SECONDS = 2.0
SECONDS = 20.0
MEMORY = 1 << 30
MOST_FAULTS = 10
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_UNUSABLE = "the schema cannot be applied"
_NOT_SCHEMAS = frozenset({"const", "enum", "default", "examples"})


def schema_faults(schema: dict[str, Any]) -> Iterator[str]:
    """What keeps the schema from being applied to anything."""
    asked = schema.get("$schema", _DRAFT)
    kind: Any = validator_for({"$schema": str(asked)}, default=Draft202012Validator)
    if asked not in (known := kind.META_SCHEMA["$schema"], known.rstrip("#"), f"{known}#"):
        yield f"$schema names no draft that is known: {str(asked)[:100]!r}"
        return
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        yield f"is no JSON Schema: {_told(error)}"
        return
    for pattern in _patterns(schema):
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield f"the pattern {pattern[:100]!r} is not valid: {error}"
    yield from _lost_references(schema)
    samples: tuple[Any, ...] = (None, {}, [])
    for sample in samples:  # finds references that go round in a circle
        yield from (fault for fault in value_faults(schema, sample) if fault.startswith(_UNUSABLE))


def _lost_references(schema: dict[str, Any]) -> Iterator[str]:
    """References that lead nowhere. Inside a part with a name of its own (`$id`) they are left to who follows them."""
    inner = [node for node in _objects(schema) if node is not schema]
    if any("$id" in node for node in inner):
        return
    resource = Resource.from_contents({**schema, "$schema": schema.get("$schema", _DRAFT)})
    resolver = Registry().with_resource("", resource).resolver()
    for reference in (node["$ref"] for node in (schema, *inner) if isinstance(node.get("$ref"), str)):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield f"{reference[:100]!r} refers to nothing in it"


def value_faults(schema: dict[str, Any], value: Any) -> Iterator[str]:
    """What is wrong with the value, the place first."""
    # The registry is empty and stays so; without one the library would fetch what `$ref` names.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    try:
        yield from (_told(fault) for fault in islice(validator.iter_errors(value), MOST_FAULTS))
    except Unresolvable as error:
        yield f"{_UNUSABLE}: {str(error.ref)[:100]!r} refers to nothing in it"
    except RecursionError:
        yield f"{_UNUSABLE}: it refers to itself without end"


def _patterns(schema: dict[str, Any]) -> Iterator[str]:
    for node in _objects(schema):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        if isinstance(node.get("patternProperties"), dict):
            yield from node["patternProperties"]


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """The schema and every object in it, but for what is a value and no schema."""
    if isinstance(node, list):
        for item in node:
            yield from _objects(item)
    elif isinstance(node, dict):
        yield node
        for name, inner in node.items():
            if name not in _NOT_SCHEMAS:
                yield from _objects(inner)


def _told(fault: SchemaError | ValidationError) -> str:
    place = ".".join(str(part) for part in fault.absolute_path)[:200]
    message = fault.message if len(fault.message) <= 300 else f"{fault.message[:300]}…"
    return f"`{place}`: {message}" if place else message


def main() -> None:
    # Their default action ends a process, whatever it is doing.
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    asked = json.loads(sys.stdin.buffer.read())
    schema = asked["schema"]
    faults = value_faults(schema, asked["value"]) if "value" in asked else schema_faults(schema)
    sys.stdout.write(json.dumps(list(islice(faults, MOST_FAULTS))))


if __name__ == "__main__":
    main()
