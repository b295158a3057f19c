"""A workspace with something outside it, tool calls that read like sentences, and a look at processes."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activities.tools import TOOLS, ToolContext, ToolError, ToolOutput, call
from activities.tools.sandbox import probe
from session.policy import CommandPolicy, SandboxMode, ToolPolicy

CONFINED: list[SandboxMode] = ["off", "require"] if probe().works else ["off"]
"""Ways of running commands on this machine: without the sandbox, and with it where it works."""


class Room:
    """A workspace with something outside it, and the tools called in it."""

    def __init__(self, folder: Path, sandbox: SandboxMode = "auto") -> None:
        self.policy = ToolPolicy(commands=CommandPolicy(sandbox))
        self.workspace = folder / "workspace"
        self.outside = folder / "outside"
        self.workspace.mkdir()
        self.outside.mkdir()
        (self.outside / "secret.txt").write_text("the secret")
        self.heard: list[tuple[str, str]] = []

    def context(self, **details: Any) -> ToolContext:
        details.setdefault("policy", self.policy)
        return ToolContext(self.workspace, lambda stream, text: self.heard.append((stream, text)), **details)

    @property
    def sandbox(self) -> str:
        """What commands are confined by, as results name it."""
        return "bubblewrap" if self.policy.commands.sandbox != "off" and probe().works else "limits"

    def ended(self, code: int) -> str:
        """The last line of exec's result."""
        return f"exit code: {code} · sandbox: {self.sandbox}"

    async def call(self, name: str, /, **arguments: Any) -> ToolOutput:
        return await call(TOOLS[name], arguments, self.context())

    async def says(self, name: str, /, **arguments: Any) -> str:
        output = await self.call(name, **arguments)
        if output.whole is not None:
            output.whole.close()
        return output.content

    async def refused(self, name: str, /, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.call(name, **arguments)
        if caught.value.whole is not None:
            caught.value.whole.close()
        return caught.value

    def file(self, path: str, content: str | bytes = "") -> Path:
        place = self.workspace / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return place


def running(text: str) -> list[int]:
    """The pids of living processes with `text` in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(folder.name))
    return found


async def until(condition: Callable[[], Any], seconds: float) -> float:
    """Wait for the condition; the seconds it took. Fails when it took longer than `seconds`."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not come true in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun
