"""The system prompts of sessions: put together before the first reply, and what the store keeps after it."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from activities.results import schema_of
from activities.surroundings import Surroundings
from activities.surveying import survey
from session.masking import Masker
from session.prompt import SystemPrompt, WorkspaceFacts, system_prompt
from store import Store

KEPT_PROMPTS: Final = 64


class Prompts:
    """The system prompts of this worker's sessions, kept between their steps (bounded)."""

    def __init__(self, store: Store, around: Surroundings) -> None:
        self._store = store
        self._around = around
        self._kept: OrderedDict[str, tuple[SystemPrompt | None, bool]] = OrderedDict()

    async def of(self, row: Mapping[str, Any], step: int, *, agent: bool) -> SystemPrompt:
        """What stands at the head of this step's model call. `agent`: tools are offered. Raises StoreUnavailable."""
        session_id: str = row["id"]
        prompt, is_stored = self._kept.pop(session_id, (None, False))
        if step > 1 and not is_stored:  # another worker's may have been recorded, whatever was made here before
            stored = await self._store.prompts.of(session_id)
            prompt, is_stored = stored or prompt, stored is not None
        if prompt is None:
            prompt = await self._made(row, agent=agent)
        self._kept[session_id] = (prompt, is_stored)
        while len(self._kept) > KEPT_PROMPTS:
            self._kept.popitem(last=False)
        return prompt

    async def _made(self, row: Mapping[str, Any], *, agent: bool) -> SystemPrompt:
        passages = await self._store.passages.of(row["id"])
        preset_id = await self._store.prompts.preset_of(row["conversation_id"])
        mask = self._around.masker.mask
        return system_prompt(
            agent=agent,
            preset=await asyncio.to_thread(self._around.presets.text, preset_id),
            custom=json.loads(row["settings"])["systemPrompt"],
            today=datetime.fromtimestamp(row["created_ms"] / 1000, UTC).date().isoformat(),
            facts=await self._facts(row) if agent else None,
            passages=[replace(one, text=mask(one.text)) for one in passages],
            schema=schema_of(row),
        )

    async def _facts(self, row: Mapping[str, Any]) -> WorkspaceFacts | None:
        """Of the session's workspace, where it is on this machine."""
        if (row["home"] or "") not in ("", self._around.home):
            return None
        try:
            facts = await asyncio.to_thread(lambda: survey(self._around.workspaces.find(row)))
        except (OSError, ValueError):  # the tools will say what is wrong with it
            return None
        return _masked(facts, self._around.masker)


def _masked(facts: WorkspaceFacts, masker: Masker) -> WorkspaceFacts:
    found = facts.instructions
    return replace(
        facts,
        top=[masker.mask(name) for name in facts.top],
        branch=masker.mask(facts.branch),
        instructions=None if found is None else replace(found, text=masker.mask(found.text)),
    )
