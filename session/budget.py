"""Budgets: the limits of a session, checked in one place and before the spending (CONTRACT §2).

Tokens of every kind count one each; money is counted in US dollars where the model has a price.
"""

from dataclasses import dataclass

from session.usage import Usage

WARN_AT_PERCENT = 80


@dataclass(frozen=True, slots=True)
class Budget:
    """What a session may spend: steps, tokens (`max_budget`), US dollars (`max_cost_usd`)."""

    max_steps: int
    max_budget: int | None = None
    max_cost_usd: float | None = None

    def is_spent(self, usage: Usage, cost: float | None) -> bool:
        """True when no further model call may start."""
        if self.max_budget is not None and usage.total_tokens >= self.max_budget:
            return True
        return self.max_cost_usd is not None and cost is not None and cost >= self.max_cost_usd


def percent_used(usage: Usage, max_budget: int) -> int:
    """Whole percent of the token budget spent; passes 100 when a reply jumped over the limit."""
    return usage.total_tokens * 100 // max_budget


def is_warning_level(usage: Usage, max_budget: int | None) -> bool:
    """True from 80 % of the token budget on; the warning itself is told once."""
    return max_budget is not None and percent_used(usage, max_budget) >= WARN_AT_PERCENT
