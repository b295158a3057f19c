"""What a session has spent, and what its budgets leave for the next model call."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from sqlalchemy import bindparam, select

from session.budget import Budget
from session.fallbacks import model_of
from session.models import card
from session.prices import price_of
from session.usage import Usage
from store.database import Row, first
from store.ledger import Ledger
from store.schema import turns

_USAGE = select(turns.c.usage).where(turns.c.session_id == bindparam("session"), turns.c.step == bindparam("at_step"))


def budget_of(row: Row) -> Budget:
    return Budget(row["max_steps"], row["max_budget"], row["max_cost_usd"])


def day_of(unix_ms: int) -> date:
    """The day (UTC) whose prices hold."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).date()


async def allowed(ledger: Ledger, step: int) -> int | None:
    """Tokens that the model call of this step may write: None without a budget, 0 where it is not to be made."""
    budget = budget_of(ledger.row)
    if not budget.limits_spending:
        return None
    before = await first(ledger.connection, _USAGE, session=ledger.id, at_step=step - 1)
    if ledger.value("compacted_step") == step:  # its prompt is not what the step before leads to
        before = None
    last = Usage() if before is None else Usage(**json.loads(before["usage"]))
    price = price_of(model_of(ledger.row), day_of(ledger.now_ms))
    return budget.allowance(ledger.usage, ledger.value("cost"), last, price)


def cuts_short(row: Row, model: str, stop_reason: str | None, usage: Usage) -> bool:
    """Whether it was the budget that ended a reply: it ran into a limit that is lower than the model's own."""
    limited = budget_of(row).limits_spending and stop_reason == "max_tokens"
    return limited and usage.output_tokens < card(model).output_limit


def spend(ledger: Ledger, usage: Usage, cost: float | None) -> None:
    """Add to what the session has spent. Its cost is known as long as that of every token is."""
    if not usage.total_tokens:
        return
    before, now = ledger.usage, ledger.usage + usage
    known = ledger.value("cost") if before.total_tokens else 0.0
    ledger.changes |= {
        "input_tokens": now.input_tokens,
        "output_tokens": now.output_tokens,
        "cache_read_tokens": now.cache_read_tokens,
        "cache_write_tokens": now.cache_write_tokens,
        "cost": None if known is None or cost is None else known + cost,
    }
