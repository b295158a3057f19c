"""A profile is told by what took the time itself, library by library."""

import cProfile
import json
from pathlib import Path

import pytest

from bench.processes import ROOT
from bench.profile import library_of, own_times


def test_a_profile_is_split_by_library_and_waiting_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "some.profile"
    profiler = cProfile.Profile()
    profiler.runcall(lambda: [json.loads(json.dumps({"n": list(range(500))})) for _ in range(50)])
    profiler.dump_stats(file)
    by_library, by_function = own_times(file)
    assert {"python", "builtins"} & set(by_library)
    assert sum(by_library.values()) == pytest.approx(sum(by_function.values())) and by_library
    assert any("json" in name or "encode" in name for name in by_function)


def test_a_file_belongs_to_its_library_or_to_its_room() -> None:
    assert library_of("/x/lib/python3.11/site-packages/sqlalchemy/engine/base.py") == "sqlalchemy"
    assert library_of(str(ROOT / "store" / "facts.py")) == "store"
    assert library_of(str(ROOT / "worker.py")) == "worker"
    assert library_of("~") == "builtins"
    assert library_of("/usr/lib/python3.11/json/decoder.py") == "python"
