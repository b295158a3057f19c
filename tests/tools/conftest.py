"""Fixtures of the tools' tests."""

import random
from pathlib import Path

import pytest

from tests.tools.room import Room
from tests.tools.yard import Yard, make


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture
def sleep() -> str:
    """A `sleep` command line that no one else on this machine uses."""
    return f"sleep 300.{random.randrange(10**8):08d}"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A repository with two commits, a branch, and a change."""
    yard = Yard(tmp_path)
    make(yard.workspace)
    return yard
