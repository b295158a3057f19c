"""What becomes of a call that has no result.

Lost         the connection ended in the middle: nobody knows what came of the call
Unavailable  nothing was sent
Refused      the server said no
"""

from __future__ import annotations

from mcp import MCPError


class Lost(Exception):
    """The connection ended while a call was out: nobody knows what came of it."""


class Unavailable(Exception):
    """There is no connection; nothing was sent."""


class Refused(Exception):
    """The server answered with an error of the protocol, or with what is no answer."""


def reason(error: BaseException) -> str:
    """The first cause, in a few words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) if isinstance(error, MCPError) else type(error).__name__
