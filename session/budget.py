"""Budgets: the limits of a session, checked in one place and before the spending (CONTRACT §2).

A token budget counts tokens of every kind as one each, except that ten which are read from the provider's cache count
as one: that is about what they cost. Money is counted in US dollars where the model has a price.

What a call may write is trimmed to what its budgets leave when its prompt is paid for. The prompt is estimated from the
call before it: what that one was told comes from the cache, what it wrote is written to the cache. Results of tools,
and the whole first prompt, are not known before they are billed; a budget may be passed by these.
"""

from dataclasses import dataclass
from math import inf

from session.prices import MTOK, Price
from session.usage import Usage

CACHED_READS_PER_TOKEN = 10
WARN_AT_PERCENT = 80
LEAST_OUTPUT = 256
"""Tokens. A call that may write less is not made: hardly anything can be said or done with so few."""


def budgeted(usage: Usage) -> int:
    """Tokens as a budget counts them; a part of one counts as one."""
    return usage.total_tokens - usage.cache_read_tokens + -(-usage.cache_read_tokens // CACHED_READS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a session may spend: steps, tokens (`max_budget`), US dollars (`max_cost_usd`)."""

    max_steps: int
    max_budget: int | None = None
    max_cost_usd: float | None = None

    @property
    def limits_spending(self) -> bool:
        return self.max_budget is not None or self.max_cost_usd is not None

    def is_spent(self, used: int, cost: float | None) -> bool:
        """True when no further model call may start. `used`: tokens as `budgeted` counts them."""
        if self.max_budget is not None and used >= self.max_budget:
            return True
        return self.max_cost_usd is not None and cost is not None and cost >= self.max_cost_usd

    def percent_used(self, used: int, cost: float | None) -> int:
        """Whole percent of the budget that is nearer to its end; passes 100 when a reply jumped over the limit."""
        tokens = used * 100 // self.max_budget if self.max_budget else 0
        money = int((cost or 0.0) * 100 / self.max_cost_usd) if self.max_cost_usd else 0
        return max(tokens, money)

    def is_warning_level(self, used: int, cost: float | None) -> bool:
        """True from 80 % on; the warning itself is told once."""
        return self.percent_used(used, cost) >= WARN_AT_PERCENT

    def allowance(self, usage: Usage, cost: float | None, last: Usage, price: Price | None) -> int | None:
        """Tokens that the next call may write: None without a limit, 0 where the call is not to be made.

        `last`: the usage of the call before it, zero where there was none. Money that cannot be counted, since the
        price is not known, is not spent.
        """
        if not self.limits_spending:
            return None
        prompt = Usage(cache_read_tokens=last.prompt_tokens, cache_write_tokens=last.output_tokens)
        left = inf
        if self.max_budget is not None:
            left = self.max_budget - budgeted(usage) - budgeted(prompt)
        if self.max_cost_usd is not None:
            left = min(left, self._affordable(cost or 0.0, prompt, price))
        return int(left) if left >= LEAST_OUTPUT else 0

    def _affordable(self, cost: float, prompt: Usage, price: Price | None) -> float:
        if price is None or self.max_cost_usd is None:
            return 0
        return (self.max_cost_usd - cost - price.cost(prompt)) * MTOK / price.of(prompt.prompt_tokens).output
