"""The `perdure` command (CONTRACT §7). Roles are a few lines over cli.roles; clients of the API stand in cli.client."""

from __future__ import annotations

import gc

gc.disable()  # importing leaves next to nothing to collect, and looking for it takes a sixth of a start

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from cli import client, demonstration, deploys, diagnosis, logs, roles
from cli.connecting import StartError
from cli.whereabouts import EmbeddedError
from settings import Settings, SettingsError
from store import StoreUnavailable, migrate_database

gc.enable()

app = typer.Typer(
    name="perdure",
    help="Agent sessions that survive.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(client.sessions, name="sessions")
app.add_typer(client.approvals, name="approvals")
console = Console(highlight=False)

Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (default 3000).", min=0, max=65535)]
DataDir = Annotated[Path | None, typer.Option(help="Where everything is kept (default ~/.perdure).")]


def settings_of(host: str | None = None, port: int | None = None, data_dir: Path | None = None) -> Settings:
    """Settings from the environment, overridden by what the flags say. Raises SettingsError."""
    given = {"host": host, "port": port, "data_dir": data_dir}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    logs.know(settings.secret_values())
    return settings


@app.command()
def serve(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Run everything in one process tree: embedded Temporal with its UI, worker and API."""
    settings = settings_of(host, port, data_dir)

    async def role() -> None:
        async with roles.whole_service(settings) as service:
            console.print(f"Perdure    {service.url}  (docs: {service.url}/docs)")
            if service.ui_url:
                console.print(f"Temporal   {service.ui_url}")
            if settings.anthropic_api_key is None:
                console.print(
                    "ANTHROPIC_API_KEY is not set: sessions will end with PROVIDER_ERROR. Try `perdure demo`."
                )
            await roles.forever()

    roles.run(role())


@app.command()
def demo(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    once: Annotated[bool, typer.Option(help="End after the first session instead of serving on.")] = False,
) -> None:
    """Show a session with a scripted model and real tools; no key needed."""
    settings = settings_of(host, port, data_dir or Path.home() / ".perdure" / "demo")
    roles.run(demonstration.play(settings, console, once=once))


@app.command()
def api(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Run the API role alone."""
    settings = settings_of(host, port, data_dir)

    async def role() -> None:
        async with roles.api_alone(settings) as service:
            console.print(f"Perdure API    {service.url}")
            await roles.forever()

    roles.run(role())


@app.command()
def worker(data_dir: DataDir = None) -> None:
    """Run the worker role alone."""
    settings = settings_of(data_dir=data_dir)

    async def role() -> None:
        async with roles.worker_alone(settings):
            console.print("Perdure worker is polling.")
            await roles.forever()

    roles.run(role())


@app.command()
def promote(
    build_id: Annotated[str | None, typer.Argument(help="The version (PERDURE_BUILD_ID of its workers).")] = None,
    unversioned: Annotated[bool, typer.Option(help="Give new sessions to workers without a version.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until all other versions are drained.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=1)] = 900,
    data_dir: DataDir = None,
) -> None:
    """Give new sessions to this version of the workers; running ones stay with theirs."""
    if (build_id is None) != unversioned:
        raise typer.BadParameter("name a version, or say --unversioned")
    ask = partial(deploys.promote, console, build_id=build_id, wait=wait, patience=timeout)
    deploys.run(settings_of(data_dir=data_dir), ask)


@app.command()
def versions(data_dir: DataDir = None) -> None:
    """Show the workers' versions, which of them new sessions go to, and how many sessions each still runs."""
    deploys.run(settings_of(data_dir=data_dir), partial(deploys.versions, console))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the store's schema up to date and say from which revision; api and worker do it at their start as well."""
    settings = settings_of(data_dir=data_dir)
    before, after = asyncio.run(migrate_database(settings.sqlalchemy_url))
    told = f"was up to date at {after}" if before == after else f"brought from {before or 'nothing'} to {after}"
    console.print(f"{settings.database_address}: {told}")


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="What the agent should do.")],
    url: client.Url = client.DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    effort: Annotated[str | None, typer.Option(help="low, medium, high or max.")] = None,
    conversation: Annotated[str | None, typer.Option(help="Go on in this conversation.")] = None,
    mode: Annotated[str | None, typer.Option(help="Security mode: deny, sandbox, allowlist, ask or full.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Only these tools, such as 'exec(git *)'; repeatable.")
    ] = None,
) -> None:
    """Start a session on a running server and watch it."""
    fields: dict[str, object] = {"content": task, "model": model, "effort": effort, "conversationId": conversation}
    fields |= {"securityMode": mode, "allowedTools": allow or None}
    body = {name: value for name, value in fields.items() if value is not None}
    sys.exit(0 if asyncio.run(client.run(console, url, body)) else 1)


@app.command()
def doctor(
    data_dir: DataDir = None,
    url: client.Url = client.DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name every part with its address and state."""
    sys.exit(diagnosis.report(settings_of(data_dir=data_dir), url, console, as_json=as_json))


def main() -> NoReturn:
    """Entry point: failures that the user can mend are one line, without a trace."""
    logs.configure()
    try:
        app()
    except (SettingsError, EmbeddedError, StartError, client.ClientError, deploys.DeployError) as error:
        console.print(logs.masked(f"perdure: {error}"), markup=False)
    except StoreUnavailable as error:
        console.print(logs.masked(f"perdure: the store cannot be opened: {error.__cause__ or error}"), markup=False)
    sys.exit(2)


if __name__ == "__main__":
    main()
