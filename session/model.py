"""The shape shared by everything that is published as JSON: camelCase, frozen, unknown fields refused."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import to_json


class Published(BaseModel):
    """Base of events and resources: snake_case in Python, camelCase on the wire (CONTRACT, head)."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, extra="forbid"
    )


def _is_storable(text: str) -> str:
    if text != storable(text):
        raise ValueError("must not contain NUL characters (U+0000) or lone surrogates")
    return text


def storable(text: str) -> str:
    """The text with a replacement mark for what no store takes: NUL characters and lone surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


Text = Annotated[str, AfterValidator(_is_storable)]
"""Text that every store can hold: PostgreSQL has no NUL in text, and lone surrogates are no UTF-8."""


def is_json(value: dict[str, Any]) -> dict[str, Any]:
    """The value, if it is JSON that can be sent again. Raises ValueError."""
    try:
        to_json(value)
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise ValueError("must be JSON that can be sent again: no lone surrogates, no infinite numbers") from error
    return value


Metadata = Annotated[dict[Text, Any], Field(max_length=16), AfterValidator(is_json)]
"""A client's own small JSON object, kept and given back as it is."""

NonEmptyText = Annotated[Text, StringConstraints(min_length=1)]
