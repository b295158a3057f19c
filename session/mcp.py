"""The MCP servers an operator named, parsed and checked: what PERDURE_MCP_SERVERS holds. Values only.

The shape is the one that MCP clients have in common, `{"mcpServers": {NAME: SERVER}}`, where a server is either started
(`command`, `args`, `env`, `cwd`) and spoken to over its standard input and output, or reached at a `url` (with
`headers`) over streamable HTTP. `${NAME}` and `${NAME:-otherwise}` in their strings stand for environment variables, so
that no token need stand in a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, StringConstraints, Tag, ValidationError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+(-+[A-Za-z0-9]+|_[A-Za-z0-9]+)*$", max_length=32)]
"""At most 32 characters and without `__`, so that the names of two servers' tools (`server__tool`) never meet."""


class McpConfigError(Exception):
    """The servers cannot be used; the message names the field, and never a value."""


class _Server(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    disabled: bool = False
    timeout: float = Field(120, gt=0, le=600)
    """Seconds that one call may take."""


class StdioServer(_Server):
    """A server that the worker starts. `cwd`: default a folder of its own in the data dir."""

    type: Literal["stdio"] = "stdio"
    command: str = Field(min_length=1)
    args: tuple[str, ...] = Field((), repr=False)
    env: dict[str, SecretStr] = Field(default_factory=dict)
    cwd: str | None = None


class HttpServer(_Server):
    """A server that is there already."""

    type: Literal["http", "streamable-http", "streamableHttp"] = "http"
    url: str = Field(pattern=r"^https?://[^/\s]+\S*$", repr=False)
    headers: dict[str, SecretStr] = Field(default_factory=dict)


def _kind(given: object) -> str:
    return "url" if isinstance(given, dict) and "url" in given and "command" not in given else "command"


McpServer = Annotated[
    Annotated[StdioServer, Tag("command")] | Annotated[HttpServer, Tag("url")], Discriminator(_kind)
]  # fmt: skip


class _Servers(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    servers: dict[ServerName, McpServer] = Field(alias="mcpServers")


def parse_servers(text: str, variables: Mapping[str, str]) -> dict[str, StdioServer | HttpServer]:
    """The servers of a JSON text, disabled ones left out. `variables`: what `${NAME}` may stand for.

    Raises McpConfigError.
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise McpConfigError(f"it is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    try:
        parsed = _Servers.model_validate(_expanded(given, variables))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise McpConfigError(_told(fault["loc"], fault["type"], fault["msg"])) from None
    return {name: server for name, server in parsed.servers.items() if not server.disabled}


def confidential(servers: Mapping[str, StdioServer | HttpServer]) -> Iterator[str]:
    """Every value that may be a secret: those of `env` and `headers` (a header's token also without its scheme), and
    what an address has after its `?`, and before its `@`."""
    for server in servers.values():
        if isinstance(server, StdioServer):
            yield from (value.get_secret_value() for value in server.env.values())
            continue
        for header in server.headers.values():
            value = header.get_secret_value()
            yield from (value, value.partition(" ")[2])
        rest = server.url.partition("//")[2]
        yield from (part.partition("=")[2] for part in rest.partition("?")[2].split("&"))
        user, at, _ = rest.partition("/")[0].rpartition("@")
        yield user.partition(":")[2] or user if at else ""


def _expanded(node: Any, variables: Mapping[str, str], place: tuple[str, ...] = ()) -> Any:
    if isinstance(node, dict):
        return {key: _expanded(value, variables, (*place, str(key))) for key, value in node.items()}
    if isinstance(node, list):
        return [_expanded(item, variables, (*place, str(index))) for index, item in enumerate(node)]
    if not isinstance(node, str):
        return node

    def value(found: re.Match[str]) -> str:
        name, otherwise = found.groups()
        given = variables.get(name) or otherwise
        if given is None:
            raise McpConfigError(f"{'.'.join(place)} speaks of ${{{name}}}, and there is no such variable")
        return given

    return _VARIABLE.sub(value, node)


_MEANT = {"tuple_type": "a list", "dict_type": "an object", "model_type": "an object", "string_type": "text"}


def _told(location: tuple[int | str, ...], kind: str, message: str) -> str:
    # The third place is the tag of the kind of server, which is no field; a key's own fault is marked by one more.
    path = [str(part) for index, part in enumerate(location) if index != 2 and part != "[key]"]
    field = ".".join(path) or "it"
    if location[-1:] == ("[key]",):
        return f"{field} is no name for a server: letters, digits, '-' and single '_', at most 32"
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        return f"{field} is no field, or not beside the others: remove it"
    if kind in _MEANT:
        return f"{field} must be {_MEANT[kind]}"
    if path[-1:] == ["url"]:
        return f"{field} is no address: write https://host/path"
    return f"{field} is wrong: {message[:1].lower()}{message[1:]}"
