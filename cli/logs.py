"""What a process says of itself, without secrets: log lines, the traces in them, and failures that nobody caught.

Masking is done on the finished line, so that it covers arguments, exception texts and traces alike. Until the settings
are read, secrets are known by their form alone; nothing that is said before repeats a setting.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from session.masking import Masker

logger = logging.getLogger("perdure")
CHATTY = (
    "httpx",
    "httpx2",
    "alembic",
    "mcp",
    "uvicorn",
    "uvicorn.error",
    "temporalio.worker",
    "temporalio.activity",
    "temporalio.workflow",
)


class MaskingFormatter(logging.Formatter):
    """A formatter whose lines are masked as a whole, traces included."""

    masker = Masker()

    def format(self, record: logging.LogRecord) -> str:
        return self.masker.mask(super().format(record))


_formatter = MaskingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")


def configure() -> None:
    """Send log lines of all libraries, warnings and uncaught failures to stderr, masked. Called once, at the start."""
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_formatter)
    logging.basicConfig(level=logging.INFO, handlers=[to_stderr])
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def know(values: Sequence[str]) -> None:
    """From now on these values are masked, too."""
    _formatter.masker = Masker(values)


def masked(text: str) -> str:
    """The text as it may be shown to whoever runs the command."""
    return _formatter.masker.mask(text)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    logger.critical("nobody caught this", exc_info=(kind, error or kind(), trace))
