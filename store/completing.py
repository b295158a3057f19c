"""Completing a step: with its reply where that made no calls, with the last result where it did."""

from __future__ import annotations

from session.budget import is_warning_level, percent_used
from session.events import BudgetWarning, StepComplete
from session.live import model_scope
from session.usage import Usage
from store.ledger import Ledger

_WARNING = "budget/warning"


async def complete_step(ledger: Ledger, step: int, usage: Usage, calls: int) -> None:
    """Append `step:complete` and, the first time that 80 % of the token budget is passed, `budget:warning`."""
    budget, used = ledger.row["max_budget"], ledger.usage
    complete = StepComplete(
        step=step,
        usage=usage.published(),
        used_budget=used.total_tokens,
        budget_remaining=None if budget is None else max(0, budget - used.total_tokens),
        steps_remaining=max(0, ledger.row["max_steps"] - step),
        tool_calls_in_step=calls,
        duration_ms=ledger.now_ms - (ledger.value("step_started_ms") or ledger.now_ms),
    )
    ledger.append(f"step/{step}/complete", complete, closes=model_scope(step))
    if is_warning_level(used, budget) and not await ledger.has_fact(_WARNING):
        percent = percent_used(used, budget)
        warning = BudgetWarning(percent_used=percent, used_budget=used.total_tokens, max_budget=budget)
        ledger.append(_WARNING, warning)
