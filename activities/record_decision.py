"""A decision on an approval, recorded once. Trying again after a crash changes nothing that was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from temporalio import activity

from activities.failures import alive
from activities.judging import Judging, Offers
from session.masking import Masker
from session.security import Rules
from session.tooling import Tool
from session.wire import RECORD_DECISION, DecisionRef
from store import Store
from store.approvals import AsTold
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
            told = await self._told(ref, tools, decision) if decision is not None else None
            try:
                return await self._store.approvals.settle(ref, tools, told)
            except SessionOver:
                return False

    async def _told(self, ref: DecisionRef, tools: Mapping[str, Tool], decision: Mapping[str, Any]) -> AsTold:
        reason = None if decision["reason"] is None else self._masker.mask(decision["reason"])
        if decision["arguments"] is None:
            return AsTold(reason=reason)
        approval = await self._store.approvals.get(ref.approval_id)
        judging = Judging(Rules("full"), tools, self._offers.catalog, self._masker)
        call = judging.call(approval.tool_call_id, approval.name, json.loads(decision["arguments"]))
        return AsTold(call.arguments_shown, reason, call.ref.effect if approval.name in tools else None)
