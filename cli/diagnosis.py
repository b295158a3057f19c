"""`perdure doctor`: every part with its address and state; exit code 0 when nothing that is needed is broken."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Literal

import httpx
from rich.console import Console
from rich.table import Table

from activities.tools.sandbox import INSTALL, probe
from cli import roles
from cli.connecting import StartError, connect
from cli.embedded import TemporalMissing, find_embedded, temporal_binary
from settings import Settings
from store import StoreUnavailable, open_bus

State = Literal["ok", "off", "broken"]


@dataclass(frozen=True)
class Finding:
    """One part: where it is, how it is, and what to do if that is not well."""

    part: str
    address: str
    state: State
    note: str = ""


def report(settings: Settings, url: str, console: Console, *, as_json: bool) -> int:
    """Print the findings; return the exit code."""
    findings = asyncio.run(examine(settings, url))
    if as_json:
        console.print_json(json.dumps({"parts": [asdict(finding) for finding in findings]}))
    else:
        table = Table("part", "state", "address", "note", box=None)
        colours = {"ok": "green", "off": "yellow", "broken": "red"}
        for one in findings:
            table.add_row(one.part, f"[{colours[one.state]}]{one.state}[/]", one.address, one.note)
        console.print(table)
    return 1 if any(one.state == "broken" for one in findings) else 0


async def examine(settings: Settings, url: str) -> list[Finding]:
    """Look at every part, changing nothing but the store's schema, which is brought up to date."""
    return [
        Finding("python", sys.executable, "ok", sys.version.split()[0]),
        _provider(settings),
        _workspace(settings),
        await asyncio.to_thread(_sandbox, settings),
        await _store(settings),
        await _bus(settings),
        await _temporal(settings),
        await _api(url),
    ]


def _provider(settings: Settings) -> Finding:
    address = settings.anthropic_base_url or "Anthropic's API"
    if settings.anthropic_api_key is None:
        return Finding("model", address, "off", "ANTHROPIC_API_KEY is not set; `perdure demo` needs none")
    return Finding("model", address, "ok", settings.model)


def _workspace(settings: Settings) -> Finding:
    root = settings.workspace_root
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Finding("workspace", str(root), "broken", error.strerror or "cannot be made")
    if not os.access(root, os.W_OK | os.X_OK):
        return Finding("workspace", str(root), "broken", "cannot be written to")
    return Finding("workspace", str(root), "ok")


def _sandbox(settings: Settings) -> Finding:
    """What commands of tools would be confined by, on this machine and as this user."""
    mode, found = settings.exec_sandbox, probe()
    if mode != "off" and found.works:
        network = "with the network" if settings.exec_network else "without network"
        return Finding("sandbox", found.version, "ok", f"commands run inside it, {network} ({mode})")
    why = "PERDURE_EXEC_SANDBOX is off" if mode == "off" else found.reason
    if mode == "require":
        return Finding("sandbox", "bubblewrap", "broken", f"{why}: no command will run; {INSTALL}")
    risk = "; as root, commands can read this worker's keys" if os.geteuid() == 0 else ""
    advice = "" if mode == "off" else f"; {INSTALL}"
    return Finding("sandbox", "limits", "off", f"{why}: commands run with resource limits alone{risk}{advice}")


async def _store(settings: Settings) -> Finding:
    try:
        async with roles.opened_store(settings) as store:
            await store.ping()
    except (StoreUnavailable, StartError, OSError) as error:
        return Finding("store", settings.database_address, "broken", str(error))
    return Finding("store", settings.database_address, "ok")


async def _bus(settings: Settings) -> Finding:
    bus = open_bus(settings.bus_url)
    try:
        up = await bus.is_up()
    finally:
        await bus.close()
    away = "does not answer: sessions run on, streams have facts and no deltas"
    return Finding("bus", settings.bus_address, "ok" if up else "broken", "" if up else away)


async def _temporal(settings: Settings) -> Finding:
    if settings.temporal is not None:
        try:
            await connect(settings, None)
        except StartError as error:
            return Finding("temporal", settings.temporal.address, "broken", str(error))
        return Finding("temporal", settings.temporal.address, "ok")
    found = await find_embedded(settings.data_dir)
    if found is not None:
        return Finding("temporal", found.address, "ok", f"embedded, UI {found.ui_url}")
    try:
        binary = temporal_binary()
    except TemporalMissing as error:
        return Finding("temporal", "embedded", "broken", str(error))
    return Finding("temporal", str(binary), "off", "not running; `perdure serve` starts it")


async def _api(url: str) -> Finding:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            answer = (await client.get(f"{url}/health/ready")).json()
        away = [name for name, part in answer["parts"].items() if part["state"] != "up"]
    except httpx.HTTPError:
        return Finding("api", url, "off", "not running; `perdure serve` starts it")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Finding("api", url, "broken", "something else answers here; choose another port with --port")
    return Finding("api", url, "broken" if away else "ok", f"away: {', '.join(away)}" if away else answer["status"])
