"""Workspaces: the folders that sessions' tools work in, all under one root."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Workspaces:
    """`root` is the setting PERDURE_WORKSPACE, or a folder in the data dir."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, row: Mapping[str, Any]) -> Path:
        """The workspace of a session's row, made when it is missing: the folder it asked for (checked at the start
        to be relative and without `..`), or its conversation's own. Raises ValueError when a link leads it outside."""
        asked: str | None = json.loads(row["settings"])["workspace"]
        root = self.root.resolve()
        folder = (root / (asked or str(row["conversation_id"]))).resolve()
        if not folder.is_relative_to(root):
            raise ValueError("the session's workspace leads outside the workspace root")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
