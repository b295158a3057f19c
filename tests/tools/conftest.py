"""Fixtures of the tools' tests."""

import random
from pathlib import Path

import pytest

from tests.tools.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture
def sleep() -> str:
    """A `sleep` command line that no one else on this machine uses."""
    return f"sleep 300.{random.randrange(10**8):08d}"
