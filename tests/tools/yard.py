"""A repository to try the git tools in."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from activities.tools import TOOLS, ToolContext, ToolError, call
from session.policy import CommandPolicy, ToolPolicy
from tests.tools.room import Room


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Writer", "-c", "user.email=w@localhost", "-c", "init.defaultBranch=main")
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    program = ["git", *identity, *arguments]
    return subprocess.run(program, cwd=folder, check=True, capture_output=True, text=True, env=environment).stdout


class Yard(Room):
    """A room whose git tools run commands with limits alone, so that nothing but their own care confines them."""

    def context(self, **details: Any) -> ToolContext:
        return super().context(policy=ToolPolicy(commands=CommandPolicy(sandbox="off")), **details)

    async def git(self, name: str, /, **arguments: Any) -> str:
        return (await call(TOOLS[f"git_{name}"], arguments, self.context())).content

    async def git_refused(self, name: str, /, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.git(name, **arguments)
        return caught.value


def make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "branch", "other")
    (folder / "b.txt").write_text("b\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "second\n\nwith a body")
    (folder / "a.txt").write_text("two\n")
