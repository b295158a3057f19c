"""What the operator allows tools and sessions to do: settings, as those see them who keep to them. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SandboxMode = Literal["auto", "require", "off"]


@dataclass(frozen=True)
class Limits:
    """What a command with all that it starts may take. CPU in seconds, memory and file size in bytes."""

    cpu_seconds: int = 170
    memory: int = 2 << 30
    processes: int = 256
    file_size: int = 1 << 30


@dataclass(frozen=True)
class CommandPolicy:
    """How commands run. `sandbox`: `auto` uses bubblewrap where it works, `require` refuses to run without it."""

    sandbox: SandboxMode = "auto"
    network: bool = False
    """Whether commands inside the sandbox reach the network."""
    limits: Limits = field(default_factory=Limits)
    hidden: tuple[str, ...] = ()
    """Folders and files that no command inside the sandbox may see: the data dir, other sessions' workspaces."""


@dataclass(frozen=True)
class AdmissionPolicy:
    """How many sessions may run at once, in all and of one API key, and how many of one key may wait; None: any.

    `waiting_per_conversation`: how many may wait behind a conversation's active session.
    """

    running: int | None = None
    running_per_key: int | None = None
    waiting_per_key: int | None = None
    waiting_per_conversation: int = 100

    @property
    def is_limited(self) -> bool:
        """Whether a session may ever have to wait."""
        return self.running is not None or self.running_per_key is not None


UNLIMITED = AdmissionPolicy()


@dataclass(frozen=True)
class WebPolicy:
    """`allowed`: hosts (`intranet.example`), addresses or networks (`10.0.0.0/8`) that may be fetched from although
    they are private."""

    allowed: tuple[str, ...] = ()


SearchProvider = Literal["brave", "tavily", "searxng"]


@dataclass(frozen=True)
class SearchPolicy:
    """Who answers web_search; without it the tool is not offered. `url` overrides the provider's own address."""

    provider: SearchProvider
    key: str = field(default="", repr=False)
    url: str = ""


@dataclass(frozen=True)
class EmbeddingPolicy:
    """Who gives vectors of texts; `url` is the whole address of the call."""

    url: str
    model: str
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class ToolPolicy:
    """All of it."""

    commands: CommandPolicy = field(default_factory=CommandPolicy)
    web: WebPolicy = field(default_factory=WebPolicy)
    search: SearchPolicy | None = None
