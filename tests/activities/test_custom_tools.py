"""Tools of installed packages, and the catalog that they share with all others."""

from __future__ import annotations

import importlib
import logging
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from activities.catalog import GROUP, Catalog, custom_tools
from activities.tools import TOOLS, ToolContext, ToolError, ToolSpec, call
from session.policy import SearchPolicy, ToolPolicy

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_tool"

Install = Callable[[Mapping[str, str], Mapping[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package in place as installers do: modules on the path, and metadata with entry points."""
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    modules: list[str] = []

    def put(sources: Mapping[str, str], entries: Mapping[str, str]) -> None:
        metadata = place / "custom-1.0.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: custom\nVersion: 1.0.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        for name, source in sources.items():
            (place / f"{name}.py").write_text(source)
            modules.append(name)
        importlib.invalidate_caches()

    yield put
    for name in modules:
        sys.modules.pop(name, None)


def example() -> tuple[dict[str, str], dict[str, str]]:
    """The modules of the example, and its entry points."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    files = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    return {Path(file).stem: (EXAMPLE / file).read_text() for file in files}, project["project"]["entry-points"][GROUP]


async def test_the_example_is_found_once_it_is_installed_and_runs(install: Install, tmp_path: Path) -> None:
    assert "count_words" not in Catalog(ToolPolicy(), custom_tools()).specs()
    install(*example())
    spec = Catalog(ToolPolicy(), custom_tools()).spec("count_words")
    assert spec is not None and spec.tool().input_schema["required"] == ["text"]
    assert (await call(spec, {"text": "three short words"}, ToolContext(tmp_path))).content == "3 words"
    with pytest.raises(ToolError, match="`text` is missing"):
        await call(spec, {}, ToolContext(tmp_path))


def test_the_tool_of_the_example_takes_ten_lines() -> None:
    sources, _ = example()
    lines = [line for line in sources["count_words"].splitlines()[1:] if line.strip()]
    assert len(lines) <= 10


SEVERAL = """
from dataclasses import replace
from activities.tools import TOOLS
one = replace(TOOLS["read_file"], name="one")
many = [replace(one, name="two"), replace(one, name="three")]
def made():
    return replace(one, name="four")
def badly_named():
    return replace(one, name="not a name")
def failing():
    raise RuntimeError("no")
number = 3
taken = replace(one, name="exec")
"""


def test_an_entry_point_gives_a_tool_or_several_or_makes_them_and_a_broken_one_costs_its_own_alone(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("one", "many", "made", "badly_named", "failing", "number", "taken", "missing")
    install({"several": SEVERAL}, {name: f"several:{name}" for name in names} | {"gone": "no_such_module:x"})
    with caplog.at_level(logging.WARNING, "perdure.tools"):
        catalog = Catalog(ToolPolicy(), custom_tools())
    assert sorted(set(catalog.specs()) - set(TOOLS)) == ["four", "one", "three", "two"]
    assert catalog.spec("exec") is TOOLS["exec"]
    for name in ("badly_named", "failing", "number", "missing", "gone"):
        assert f"entry point {name} " in caplog.text
    assert "named exec was left out" in caplog.text


class Source:
    def __init__(self, *specs: ToolSpec[Any]) -> None:
        self.found = list(specs)

    def specs(self) -> list[ToolSpec[Any]]:
        return self.found


def named(name: str) -> ToolSpec[Any]:
    return replace(TOOLS["read_file"], name=name)


def test_tools_come_in_a_stable_order_each_name_once_and_sources_are_live() -> None:
    source, other = Source(named("b__x"), named("a__x"), named("custom")), Source(named("a__x"), named("exec"))
    catalog = Catalog(ToolPolicy(), [named("zebra"), named("custom")], (source, other))
    offered = [name for name in TOOLS if name != "web_search"]
    assert [tool.name for tool in catalog.tools()] == [*offered, "custom", "zebra", "a__x", "b__x"]
    assert catalog.spec("a__x") is source.found[1] and catalog.spec("exec") is TOOLS["exec"]
    source.found = []
    assert catalog.spec("b__x") is None and catalog.spec("a__x") is other.found[0]


def test_web_search_is_offered_when_somebody_answers_it() -> None:
    assert "web_search" not in Catalog(ToolPolicy()).specs()
    searching = Catalog(ToolPolicy(search=SearchPolicy("brave", "key"))).specs()
    assert list(searching) == list(TOOLS)
