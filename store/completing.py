"""Completing a step: with its reply where that made no calls, with the last result where it did."""

from __future__ import annotations

from session.budget import budgeted
from session.events import BudgetWarning, StepComplete
from session.live import model_scope
from session.usage import Usage
from store.ledger import Ledger
from store.spending import budget_of

_WARNING = "budget/warning"


async def complete_step(ledger: Ledger, step: int, usage: Usage, calls: int) -> None:
    """Append `step:complete` and, the first time that 80 % of a budget is passed, `budget:warning`."""
    budget, used = budget_of(ledger.row), budgeted(ledger.usage)
    complete = StepComplete(
        step=step,
        usage=usage.published(),
        used_budget=used,
        budget_remaining=None if budget.max_budget is None else max(0, budget.max_budget - used),
        steps_remaining=max(0, ledger.row["max_steps"] - step),
        tool_calls_in_step=calls,
        duration_ms=ledger.now_ms - (ledger.value("step_started_ms") or ledger.now_ms),
    )
    ledger.append(f"step/{step}/complete", complete, closes=model_scope(step))
    await warn(ledger)


async def warn(ledger: Ledger) -> None:
    """Append `budget:warning` when 80 % of a budget is passed, once."""
    budget, used, cost = budget_of(ledger.row), budgeted(ledger.usage), ledger.value("cost")
    if budget.is_warning_level(used, cost) and not await ledger.has_fact(_WARNING):
        money = {} if budget.max_cost_usd is None else {"cost": cost, "max_cost_usd": budget.max_cost_usd}
        percent = budget.percent_used(used, cost)
        warning = BudgetWarning(percent_used=percent, used_budget=used, max_budget=budget.max_budget, **money)
        ledger.append(_WARNING, warning)
