"""A decision on an approval, recorded once. Trying again after a crash changes nothing that was written."""

from __future__ import annotations

import json

from temporalio import activity

from activities.failures import alive
from activities.judging import Offers
from session.masking import Masker
from session.wire import RECORD_DECISION, DecisionRef
from store import Store
from store.ledger import SessionOver


class Decisions:
    """The `record_decision` activity."""

    def __init__(self, store: Store, offers: Offers, masker: Masker) -> None:
        self._store = store
        self._offers = offers
        self._masker = masker

    @activity.defn(name=RECORD_DECISION)
    async def record_decision(self, ref: DecisionRef) -> bool:
        """Record the decision that won; False when the approval was decided before, or its session is over."""
        async with alive():
            row = await self._store.sessions.row(ref.session_id)
            tools = await self._offers.of(row)
            decision = await self._store.approvals.decision(ref.decision_id)
            edited = decision["arguments"] if decision is not None else None
            shown = self._masker.value(json.loads(edited)) if edited is not None else None
            try:
                return await self._store.approvals.settle(ref, tools, shown)
            except SessionOver:
                return False
