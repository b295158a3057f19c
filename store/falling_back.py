"""Falling back to another model, within a step: the next attempt is the first of that model."""

from __future__ import annotations

import json

from sqlalchemy import bindparam, select

from session.events import Fallback, ModelRef
from session.fallbacks import model_of, next_model
from session.wire import StepRef
from store.database import Row, first
from store.ledger import Ledger
from store.schema import facts

_LAST = (
    select(facts.c.key)
    .where(facts.c.session_id == bindparam("session"), facts.c.key.startswith(bindparam("head"), autoescape=False))
    .order_by(facts.c.position.desc())
    .limit(1)
)


def fall_back(ledger: Ledger, at: StepRef, attempt: int, to: str, reason: str) -> None:
    """From the step's next attempt on the session uses the model `to`."""
    event = Fallback(from_=ModelRef(model=model_of(ledger.row)), to=ModelRef(model=to), reason=reason)
    ledger.append(f"{_head(at)}{attempt}", event)
    ledger.changes["fallback_model"] = to


async def fell_back(ledger: Ledger, at: StepRef) -> int:
    """The attempt of this step after which the session fell back to the model in use; 0 where it began with it."""
    if ledger.row["fallback_model"] is None:
        return 0
    last = await first(ledger.connection, _LAST, session=ledger.id, head=_head(at))
    return 0 if last is None else int(last["key"].rpartition("/")[2])


def following(row: Row) -> str | None:
    """The model that comes after the one in use."""
    fallback = json.loads(row["settings"]).get("fallback") or []
    return next_model(row["model"], model_of(row), fallback)


def _head(at: StepRef) -> str:
    return f"step/{at.step}/fallback/{at.epoch_ms}/"
