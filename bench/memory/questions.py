"""The questions of `questions.txt`, and the sections that answer them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("questions.txt")


class Question(NamedTuple):
    """`answers`: (path, section), any of which is right."""

    asked: str
    answers: tuple[tuple[str, str], ...]


def questions() -> list[Question]:
    """All of them, in order."""
    blocks = [block.splitlines() for block in FILE.read_text().split("\n\n")[1:]]
    return [Question(lines[0], tuple(_place(line) for line in lines[1:])) for lines in blocks]


def _place(line: str) -> tuple[str, str]:
    path, section = line.split()
    return path, section
