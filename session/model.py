"""The shape shared by everything that is published as JSON: camelCase, frozen, unknown fields refused."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel


class Published(BaseModel):
    """Base of events and resources: snake_case in Python, camelCase on the wire (CONTRACT, head)."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, extra="forbid"
    )


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters (U+0000)")
    return text


def storable(text: str) -> str:
    """The text with a replacement mark for what no store takes: NUL characters and lone surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


Text = Annotated[str, AfterValidator(_without_nul)]
"""Text that every store can hold: PostgreSQL has no NUL in text."""

NonEmptyText = Annotated[Text, StringConstraints(min_length=1)]
