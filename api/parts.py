"""What the routes work with: one object per API process, made by `api.app`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from activities.memory import Recall
from activities.results import Validators
from api.feed import Feeds
from api.temporal import Temporal
from settings import Settings
from store import Store


@dataclass(frozen=True)
class Parts:
    settings: Settings
    store: Store
    temporal: Temporal
    feeds: Feeds
    recall: Recall
    validators: Validators = field(default_factory=Validators)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this process was told to go: it still answers, and says at /health/ready that it will not for long."""


def _parts(request: Request) -> Parts:
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]
