"""Errors as the real API answers them: a status, an error type and a message that names the place."""

from __future__ import annotations

import json

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """The type that the API gives to errors of this status."""
    return ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


class Refused(Exception):
    """A request that is answered by an error. `retry_after` is in seconds."""

    def __init__(
        self, message: str, status: int = 400, *, kind: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind or error_type(status)
        self.retry_after = retry_after


def error_body(kind: str, message: str, request_id: str) -> bytes:
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    return json.dumps(error, separators=(",", ":")).encode()
