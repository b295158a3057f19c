"""Who may call (CONTRACT §6): a configured key as Bearer token or as the cookie `profclaw_session`.

Without configured keys the server is bound to loopback; then the Host must be a loopback name, so that a web page
elsewhere cannot reach it under a name of its own. In both modes a browser's request that changes something must come
from the same origin.
"""

from __future__ import annotations

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from api.problems import Problem
from settings import ApiKey

COOKIE = "profclaw_session"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def caller(request: Request) -> str:
    """The name of the caller's key; `local` where no keys are configured. Raises Problem 401 or 403."""
    _check_origin(request)
    keys: tuple[ApiKey, ...] = request.app.state.parts.settings.api_keys
    if not keys:
        if _hostname(request) not in LOOPBACK:
            raise Problem(
                403,
                "HOST_NOT_ALLOWED",
                "Without configured keys this server only answers as localhost; set PERDURE_API_KEYS to open it.",
            )
        return "local"
    offered = _offered(request)
    if offered is None:
        raise Problem(
            401,
            "UNAUTHORIZED",
            f"Send a key as 'Authorization: Bearer <key>' or as the cookie {COOKIE}.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    found = [key.name for key in keys if hmac.compare_digest(key.secret.get_secret_value().encode(), offered)]
    if not found:
        raise Problem(
            401, "UNAUTHORIZED", "This key is not known.", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    return found[0]


Caller = Annotated[str, Depends(caller)]


def _hostname(request: Request) -> str | None:
    """The host that the client named. Not the URL's, which is our own address where the header is no host at all."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def _offered(request: Request) -> bytes | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip().encode()
    cookie = request.cookies.get(COOKIE)
    return cookie.encode() if cookie else None


def _check_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is None or request.method in _READS:
        return
    if not origin.partition("://")[2] or origin.partition("://")[2] != request.headers.get("host"):
        raise Problem(403, "FOREIGN_ORIGIN", "Requests from pages of another origin are refused.")
