"""Presets: texts that say who a session's model is to be, in files.

They are `<id>.md` in the operator's folder (PERDURE_PRESETS), or else among those beside this module; a conversation
whose preset has no file gets `default.md`. A file is read when a session begins, so a change counts for the sessions
that come after it.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final

from session.model import storable

logger = logging.getLogger("perdure.prompts")

SHIPPED: Final = Path(__file__).parent
DEFAULT: Final = "default"
MOST_BYTES: Final = 100_000
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Presets:
    """The presets that there are. `folder`: the operator's own, which come first; it may be missing."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folders = [SHIPPED] if folder is None else [folder, SHIPPED]

    def text(self, preset_id: str | None) -> str:
        """The text of a preset, or of the default one. Reads files."""
        for name in (preset_id or DEFAULT, DEFAULT):
            for folder in self._folders:
                if _ID.fullmatch(name) and (text := _read(folder / f"{name}.md")) is not None:
                    return text
        return ""


def _read(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return storable(opened.read(MOST_BYTES).decode("utf-8", "replace"))
    except FileNotFoundError:
        return None
    except OSError as error:  # a session without its preset is worth more than none
        logger.warning("the preset %s cannot be read: %s", file, error.strerror)
        return None
