"""The commands that are clients of a running server: `run` and `sessions …`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.watch import watch
from settings import Settings

DEFAULT_URL = "http://127.0.0.1:3000"
Url = Annotated[str, typer.Option(help="The server's address.", envvar="PERDURE_URL")]

sessions = typer.Typer(help="Look at sessions of a running server, cancel and retry them.", no_args_is_help=True)
approvals = typer.Typer(help="Look at the calls that wait for a decision, and decide.", no_args_is_help=True)
console = Console(highlight=False)


class ClientError(Exception):
    """The server could not be asked, or refused; the message says why."""


def connected(url: str) -> httpx.AsyncClient:
    keys = Settings().api_keys
    headers = {"Authorization": f"Bearer {keys[0].secret.get_secret_value()}"} if keys else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0, trust_env=False)


async def ask(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    """The answer's JSON. Raises ClientError."""
    try:
        answer = await client.request(method, path, **options)
    except httpx.TransportError as error:
        raise ClientError(f"no server answers at {client.base_url}; start one with `perdure serve`") from error
    try:
        told = answer.json()
    except ValueError as error:
        raise ClientError(f"what answers at {client.base_url} is not Perdure") from error
    if answer.is_error:
        raise ClientError(told["error"] if isinstance(told, dict) and "error" in told else answer.text[:500])
    return told


async def run(screen: Console, url: str, body: dict[str, Any]) -> bool:
    """Start a session and watch it; return whether it completed."""
    async with connected(url) as client:
        started = (await ask(client, "POST", "/api/sessions", json=body))["session"]
        screen.print(f"[dim]{started['id']}[/]")
        return await watch(screen, client, started["id"])


@sessions.command("ls")
def list_sessions(
    url: Url = DEFAULT_URL,
    status: Annotated[str | None, typer.Option(help="Only these, with commas.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
) -> None:
    """List sessions, newest first."""
    asked = {"limit": limit, **({"status": status} if status else {})}
    found = _asked(url, "GET", "/api/sessions", params=asked)["sessions"]
    table = Table("id", "status", "stop", "steps", "tokens", "goal", box=None)
    for one in found:
        tokens = str(one["usage"]["totalTokens"])
        table.add_row(one["id"], one["status"], one["stopReason"] or "", str(one["step"]), tokens, one["goal"][:60])
    console.print(table)


@sessions.command()
def show(session_id: str, url: Url = DEFAULT_URL) -> None:
    """Print a session as JSON."""
    console.print_json(json.dumps(_asked(url, "GET", f"/api/sessions/{session_id}")["session"]))


@sessions.command()
def events(session_id: str, url: Url = DEFAULT_URL) -> None:
    """Watch a session's events, from its beginning to its end."""
    _asked(url, "GET", f"/api/sessions/{session_id}")
    _watched(url, session_id)


@sessions.command()
def cancel(
    session_id: str,
    url: Url = DEFAULT_URL,
    graceful: Annotated[bool, typer.Option(help="After the running step.")] = False,
    reason: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Cancel a session and watch it end."""
    body = {"mode": "graceful" if graceful else "now", **({"reason": reason} if reason else {})}
    _asked(url, "POST", f"/api/sessions/{session_id}/cancel", json=body)
    _watched(url, session_id)


@sessions.command()
def say(
    session_id: str, text: Annotated[str, typer.Argument(help="What the next step is to see.")], url: Url = DEFAULT_URL
) -> None:
    """Say something to a session that runs, and watch it."""
    _asked(url, "POST", f"/api/sessions/{session_id}/messages", json={"content": text})
    _watched(url, session_id)


@sessions.command()
def retry(session_id: str, url: Url = DEFAULT_URL) -> None:
    """Start a new session from the same message and watch it."""
    started = _asked(url, "POST", f"/api/sessions/{session_id}/retry")["session"]
    console.print(f"[dim]{started['id']}[/]")
    _watched(url, started["id"])


@approvals.command("ls")
def list_approvals(
    url: Url = DEFAULT_URL,
    status: Annotated[str, typer.Option(help="pending, approved, denied or expired.")] = "pending",
) -> None:
    """List approvals, newest first."""
    table = Table("id", "status", "tool", "arguments", "until", box=None)
    for one in _asked(url, "GET", "/api/approvals", params={"status": status, "limit": 100})["approvals"]:
        arguments = json.dumps(one["arguments"], ensure_ascii=False)[:80]
        table.add_row(one["id"], one["status"], escape(one["name"]), escape(arguments), one["expiresAt"])
    console.print(table)


@approvals.command()
def decide(
    approval_id: str,
    decision: Annotated[str, typer.Argument(help="allow-once, allow-always or deny.")],
    url: Url = DEFAULT_URL,
    reason: Annotated[str | None, typer.Option(help="Told to the model where the call is denied.")] = None,
) -> None:
    """Decide an approval."""
    approval = _asked(url, "GET", f"/api/approvals/{approval_id}")["approval"]
    body = {"decision": decision, **({"reason": reason} if reason else {})}
    path = f"/api/sessions/{approval['sessionId']}/approvals/{approval_id}"
    console.print(_asked(url, "POST", path, json=body)["approval"]["status"])


def _asked(url: str, method: str, path: str, **options: Any) -> Any:
    async def once() -> Any:
        async with connected(url) as client:
            return await ask(client, method, path, **options)

    return asyncio.run(once())


def _watched(url: str, session_id: str) -> bool:
    async def once() -> bool:
        async with connected(url) as client:
            return await watch(console, client, session_id)

    return asyncio.run(once())
