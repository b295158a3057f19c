"""`python -m tests.survival.bold_model --port N`: the fake model, which here also calls tools that nobody declared.

Models do that now and then. The fake takes it for a mistake in a test; these few names it lets through, in scripts and
in the transcripts that come back. Everything else stays as strict as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from unittest.mock import patch

from fake_model import __main__ as command
from fake_model import messages, transcript

UNDECLARED: Final = frozenset({"make_coffee", "Write_File", "edit_file", "grep"})
"""Two that never exist, two that a session may not have been offered."""
_check_tools, _calls = messages._check_tools, transcript._calls


def _bold_check_tools(turn: Any, declared: frozenset[str]) -> None:
    _check_tools(turn, declared | UNDECLARED)


def _bold_calls(index: int, blocks: Any, seen: set[str], declared: Collection[str]) -> list[str]:
    return _calls(index, blocks, seen, {*declared, *UNDECLARED} if declared else set())


def main() -> None:
    with (
        patch.object(messages, "_check_tools", _bold_check_tools),
        patch.object(transcript, "_calls", _bold_calls),
    ):
        command.main()


if __name__ == "__main__":
    main()
