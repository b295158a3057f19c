"""What can go wrong with a reply, on demand.

`after_deltas` counts thinking, text and tool-input deltas; a number beyond the last means: after the last, before the
end of its block. A call without streaming meets the nearest equivalent.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(Frozen):
    """The request is answered by an error. `error_type` follows from the code; `retry_after` is in seconds."""

    kind: Literal["status"] = "status"
    code: int = Field(default=529, ge=400, le=599)
    error_type: str | None = None
    message: str | None = None
    retry_after: float | None = None


class ErrorEvent(Frozen):
    """An `error` event inside a stream that began well, which then ends."""

    kind: Literal["error_event"] = "error_event"
    after_deltas: int = Field(default=2, ge=0)
    error_type: str = "overloaded_error"
    message: str = "Overloaded"


class Cut(Frozen):
    """The TCP connection is closed in the middle of the HTTP body."""

    kind: Literal["cut"] = "cut"
    after_deltas: int = Field(default=2, ge=0)


class CleanCut(Frozen):
    """The HTTP body ends in good order, but without `message_stop`."""

    kind: Literal["clean_cut"] = "clean_cut"
    after_deltas: int = Field(default=2, ge=0)


class BadToolJson(Frozen):
    """The reply ends with `message_stop`, but the input of its last tool call is half a JSON text."""

    kind: Literal["bad_tool_json"] = "bad_tool_json"


class Stall(Frozen):
    """Silence, without pings, for `seconds`; then the connection is closed."""

    kind: Literal["stall"] = "stall"
    after_deltas: int = Field(default=2, ge=0)
    seconds: float = Field(default=600, gt=0)


class LostEnd(Frozen):
    """The whole reply, `message_stop` too; then, after `seconds` of silence, the connection is closed in the middle of
    the HTTP body. The reply counts as completed. Without streaming nothing is amiss."""

    kind: Literal["lost_end"] = "lost_end"
    seconds: float = Field(default=0, ge=0)


Fault = Annotated[Status | ErrorEvent | Cut | CleanCut | BadToolJson | Stall | LostEnd, Field(discriminator="kind")]
JsonObject = dict[str, Any]
