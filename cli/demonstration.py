"""`perdure demo`: the real service with only the model's words canned (a scripted model on loopback, real tools)."""

from __future__ import annotations

from pydantic import SecretStr
from rich.console import Console

from cli import roles
from cli.client import ask, connected
from cli.connecting import StartError
from cli.watch import watch
from fake_model.serve import running as scripted_model
from settings import Settings

TASK = "Write a small greeting program, run it, and tell me what it prints"


async def play(settings: Settings, console: Console, *, once: bool) -> None:
    """Start everything, show one session live, then serve on until stopped (unless `once`). Raises StartError."""
    console.print("[dim]Starting Temporal, a worker, the API and a scripted model …[/]")
    async with scripted_model() as model:
        canned = settings.model_copy(update={"anthropic_api_key": SecretStr("demo"), "anthropic_base_url": model.url})
        async with roles.whole_service(canned) as service:
            completed = await _show(console, service.url)
            console.print(f"[dim]The files it wrote are in {canned.workspace_root}[/]")
            if not completed:
                raise StartError("the demo's session did not complete")
            if once:
                return
            _tell(console, service)
            await roles.forever()


async def _show(console: Console, url: str) -> bool:
    async with connected(url) as client:
        session = (await ask(client, "POST", "/api/sessions", json={"content": TASK}))["session"]
        return await watch(console, client, session["id"])


def _tell(console: Console, service: roles.Service) -> None:
    console.print("\nThe server goes on. Try, in another terminal:\n")
    for line in curl_lines(service.url):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if service.ui_url:
        console.print(f"\nThe same session in Temporal's UI: {service.ui_url}")
    console.print("[dim]Ctrl-C ends it.[/]")


def curl_lines(url: str) -> list[str]:
    """The three calls to go on with: make a conversation, run a session in it and follow it, read what came of it."""
    body = "-H 'Content-Type: application/json' -d"
    all_of_them = f"{url}/api/chat/conversations"
    return [
        f'curl -X POST {all_of_them} {body} \'{{"id": "conv_01"}}\'',
        f'curl -N -X POST {all_of_them}/conv_01/messages/agentic {body} \'{{"content": "Say hello in Python"}}\'',
        f"curl {all_of_them}/conv_01",
    ]
