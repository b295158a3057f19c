"""The forms that settings are written in: keys, addresses, lists, MCP servers. No variable is declared or read here.

Each function takes what was given and returns what it means. What cannot be used raises SettingsError (or ValueError,
where only the caller knows the variable): one sentence that says what to change, and never repeats a secret.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from session.mcp import McpConfigError, parse_servers

_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY_SECRET = re.compile(r"[!-~]+")
_BUS_SCHEMES = ("redis", "rediss", "valkey")
DEPLOYMENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
BUILD_ID = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
"""Narrower than Temporal's own rules, which keep ':' and '.' in a deployment's name for themselves."""


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what to change."""


class ApiKey(BaseModel):
    """A key that opens the API, and the name its bearer goes by in the audit."""

    model_config = ConfigDict(frozen=True)
    name: str
    secret: SecretStr


def api_keys(given: object) -> object:
    """`name:key` or bare `key`, comma separated. A bare key is named after its hash, so that the audit can tell it."""
    if not isinstance(given, str):
        return given
    keys = [_api_key(part.strip()) for part in given.split(",") if part.strip()]
    for what, values in (("name", [key.name for key in keys]), ("key", [plain(key.secret) for key in keys])):
        if len(set(values)) < len(values):
            raise SettingsError(f"PERDURE_API_KEYS has the same {what} twice: give every bearer a {what} of their own.")
    return tuple(keys)


def _api_key(part: str) -> ApiKey:
    name, colon, secret = part.partition(":")
    if not colon:
        name, secret = f"key-{hashlib.sha256(part.encode()).hexdigest()[:8]}", part
    if not _KEY_NAME.fullmatch(name) or not _KEY_SECRET.fullmatch(secret):
        raise SettingsError(
            "PERDURE_API_KEYS has an entry that is no key: write 'name:key' or 'key', separated by commas, "
            "names of letters, digits, '.', '_' and '-', keys without blanks."
        )
    return ApiKey(name=name, secret=SecretStr(secret))


def database_url(url: str) -> str:
    scheme, _, path = url.partition("://")
    if scheme == "sqlite" and path.startswith("/") and path[1:] not in ("", ":memory:"):
        return url
    if scheme in ("postgresql", "postgres") and path:
        return url
    raise SettingsError(
        "PERDURE_DATABASE_URL cannot be used: write sqlite:///path/to/file.db or "
        "postgresql://user:password@host/database (the driver is Perdure's choice)."
    )


def bus_url(url: str | None) -> str | None:
    if url is not None and urlsplit(url).scheme not in _BUS_SCHEMES:
        raise SettingsError("PERDURE_BUS_URL cannot be used: write redis://host:6379/0, or leave it unset.")
    return url


def http_url(url: str | None) -> str | None:
    if url is not None and not re.match(r"https?://[^/\s]+", url):
        raise ValueError("write a full address such as https://host/path")
    return url


def words(given: object) -> object:
    """A list of words, comma separated."""
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


def mcp_servers(given: object, variables: Mapping[str, str]) -> object:
    """JSON, or the path of a file that holds it. The `${NAME}` in it are the given variables."""
    if not isinstance(given, str):
        return given
    try:
        text = given if given.lstrip().startswith("{") else Path(given).expanduser().read_text()
        return parse_servers(text, variables)
    except (OSError, ValueError) as error:
        raise SettingsError(
            "PERDURE_MCP_SERVERS cannot be read: name a file of JSON, or write the JSON itself "
            f"({getattr(error, 'strerror', None) or type(error).__name__})."
        ) from None
    except McpConfigError as error:
        raise SettingsError(f"PERDURE_MCP_SERVERS cannot be used: {error}.") from None


def folder(path: Path) -> Path:
    """Absolute, since a relative one would mean another folder to every process."""
    return Path(os.path.abspath(path.expanduser()))


def plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def sentence(error: ValidationError) -> str:
    """What is wrong, without the value that was given: it may be a secret in the wrong variable."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"There is no setting {name!r}: remove it."
    return f"{name} cannot be used: {first['msg'][:1].lower()}{first['msg'][1:]}."
