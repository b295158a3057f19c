"""What people see of a session in Temporal's UI, without a word of its content (DESIGN §4)."""

from __future__ import annotations

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from session.machine import State
from session.vocabulary import STATUS_OF, Phase, StopReason

STATUS = SearchAttributeKey.for_keyword("PerdureStatus")
STOP_REASON = SearchAttributeKey.for_keyword("PerdureStopReason")


def details(state: State, max_steps: int, phase: Phase) -> str:
    """Where it stands, in a line."""
    pending = ", ".join(call.name for call in state.pending)
    told = f"step {state.step} of {max_steps} · {phase} · {state.usage.total_tokens} tokens"
    return f"{told} · waiting for {pending}" if pending else told


def attributes_of_end(reason: StopReason) -> list[SearchAttributeUpdate[Any]]:
    """What it can be found by once it has ended."""
    return [STATUS.value_set(STATUS_OF[reason]), STOP_REASON.value_set(reason)]
