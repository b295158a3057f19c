"""The tools of a worker: built in, custom (entry points of installed packages), and those of MCP servers.

The first two are fixed when the worker starts. Sources are asked anew each time, since servers come and go; what a
session was offered is fixed with its first step all the same, and a tool that has gone since is an error result.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol

from activities.tools import TOOLS
from activities.tools.spec import ToolSpec
from session.policy import ToolPolicy
from session.tooling import Tool

logger = logging.getLogger("perdure.tools")

GROUP: Final = "perdure.tools"
"""The entry point group in which installed packages name their tools."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What the model's API takes as the name of a tool."""


class ToolSource(Protocol):
    """Where tools come and go while the worker runs."""

    def specs(self) -> Sequence[ToolSpec[Any]]:
        """The tools there are now. Asked often: it must not wait."""


class Catalog:
    """Every tool a session may be offered, each name once. Built-in tools win over custom ones, and these over sources.

    `policy`: without a search provider there is no web_search.
    """

    def __init__(
        self, policy: ToolPolicy, custom: Iterable[ToolSpec[Any]] = (), sources: Sequence[ToolSource] = ()
    ) -> None:
        absent = {"web_search"} if policy.search is None else set()
        self._fixed = {name: spec for name, spec in TOOLS.items() if name not in absent}
        self._sources = tuple(sources)
        self._refused: set[str] = set()
        for spec in sorted(custom, key=lambda spec: spec.name):
            # The name of an absent built-in tool is taken too: it may be there after the next start.
            if spec.name in TOOLS or spec.name in self._fixed:
                self._refuse(spec.name)
            else:
                self._fixed[spec.name] = spec

    def specs(self) -> Mapping[str, ToolSpec[Any]]:
        """The tools there are now by name: the built-in ones in their order, then custom and MCP tools by name."""
        found = dict(self._fixed)
        for spec in sorted((spec for source in self._sources for spec in source.specs()), key=lambda spec: spec.name):
            if spec.name in TOOLS or spec.name in found:
                self._refuse(spec.name)
            else:
                found[spec.name] = spec
        return found

    def spec(self, name: str) -> ToolSpec[Any] | None:
        return self.specs().get(name)

    def tools(self) -> list[Tool]:
        """What models are offered and the API lists, in the order of `specs`."""
        return [spec.tool() for spec in self.specs().values()]

    def _refuse(self, name: str) -> None:
        if name not in self._refused:
            self._refused.add(name)
            logger.warning("a second tool named %s was left out: its name is taken", name)


def custom_tools() -> list[ToolSpec[Any]]:
    """The tools of installed packages. What cannot be loaded is logged and left out: a broken package costs its own
    tools, never the worker."""
    found: list[ToolSpec[Any]] = []
    for entry in entry_points(group=GROUP):
        try:
            found += _loaded(entry)
        except Exception:
            logger.exception("the tools of entry point %s (%s) were left out", entry.name, entry.value)
    return found


def _loaded(entry: EntryPoint) -> list[ToolSpec[Any]]:
    """One tool, an iterable of tools, or a callable that gives either. Raises TypeError or ValueError for what is
    none, and whatever the package itself raises."""
    given = entry.load()
    if callable(given):
        given = given()
    specs = [given] if isinstance(given, ToolSpec) else list(given)
    for spec in specs:
        if not isinstance(spec, ToolSpec):
            raise TypeError(f"{type(spec).__name__} is no ToolSpec")
        if not _NAME.fullmatch(spec.name):
            raise ValueError(f"{spec.name!r} is no name for a tool: 1 to 64 of letters, digits, '_' and '-'")
        spec.tool()  # a schema that cannot be made is found here, and not in a session
    return specs
