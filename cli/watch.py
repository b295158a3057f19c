"""Watching a session in the terminal: a client of the public API like any other (CONTRACT §3), with resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

RECONNECT_SECONDS = 1.0
SHOWN_CHARS = 160


async def follow(client: httpx.AsyncClient, session_id: str) -> AsyncIterator[dict[str, Any]]:
    """The session's events to its last one; reconnects with the last id when the stream or the server goes away."""
    last = ""
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            path = f"/api/sessions/{session_id}/events"
            async with client.stream("GET", path, headers=headers, timeout=None) as answer:
                if answer.status_code == 204:  # nothing follows: the session is over
                    return
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        last = line[4:]
                    elif line.startswith("data: "):
                        yield json.loads(line[6:])
        except httpx.TransportError:
            await asyncio.sleep(RECONNECT_SECONDS)


class Screen:
    """Prints events as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open_line = False
        self.completed = False

    def show(self, event: dict[str, Any]) -> None:
        kind, data = event["type"], event["data"]
        if kind in ("thinking:update", "content:delta"):
            style = "dim italic" if kind == "thinking:update" else None
            self._console.print(escape(data["delta"]), end="", style=style, highlight=False)
            self._open_line = True
            return
        line = _approval(data) if kind.startswith("approval:") else self._line(kind, data)
        if self._open_line:
            self._console.print()
            self._open_line = False
        if line:
            self._console.print(line, highlight=False)
        self.completed = self.completed or kind == "complete"

    def _line(self, kind: str, data: dict[str, Any]) -> str:
        match kind:
            case "session:start":
                return f"[bold]{escape(data['goal'])}[/]  [dim]{data['model']} · at most {data['maxSteps']} steps[/]"
            case "step:start":
                return f"[dim]── step {data['step']} ──[/]"
            case "step:retry":
                return f"[yellow]again:[/] {escape(data['reason'])}"
            case "tool:call":
                return f"[cyan]{data['name']}[/] {_short(json.dumps(data['arguments'], ensure_ascii=False))}"
            case "tool:result":
                mark = "[green]ok[/]" if data["status"] == "success" else "[red]error[/]"
                return f"{mark} [dim]{data['name']} · {data['durationMs']} ms[/] {_short(_said(data['result']))}"
            case "session:cancelling":
                return f"[yellow]cancelling ({data['mode']})[/]"
            case "summary":
                return f"[bold green]{escape(data['summary'])}[/]"
            case "complete":
                cost = "no price" if data["cost"] is None else f"${data['cost']:.4f}"
                steps, tokens = data["totalSteps"], data["totalTokens"]
                return (
                    f"[dim]{data['stopReason']} · {steps} steps · {tokens} tokens · {cost} · {data['durationMs']} ms[/]"
                )
            case "error":
                return f"[bold red]{data['code']}[/] {escape(data['message'])}"
        return ""


def _approval(data: dict[str, Any]) -> str:
    if "decision" in data:
        return f"[yellow]{data['decision']}[/] [dim]by {escape(data['by'])}[/]"
    how = f"perdure approvals decide {data['approvalId']} allow-once"
    return f"[bold yellow]waits for an approval:[/] {data['name']} [dim]until {data['expiresAt']};[/] {how}"


def _said(result: dict[str, Any]) -> str:
    return str(result["error"]["message"] if "error" in result else result.get("content", ""))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return escape(line if len(line) <= SHOWN_CHARS else line[:SHOWN_CHARS] + "…")


async def watch(console: Console, client: httpx.AsyncClient, session_id: str) -> bool:
    """Show a session to its end; return whether it completed."""
    screen = Screen(console)
    async for event in follow(client, session_id):
        screen.show(event)
    return screen.completed
