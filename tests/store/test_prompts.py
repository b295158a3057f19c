"""Claims about kept system prompts: with the first reply, and never again."""

from __future__ import annotations

from session.prompt import SystemPrompt
from store import Store
from store.replies import Reply
from tests.store.acting import new_session, step

FIRST, OTHER = SystemPrompt("a", "b"), SystemPrompt("c", "d")


async def test_the_prompt_of_the_first_reply_is_kept_and_no_other(store: Store) -> None:
    session_id = (await new_session(store)).id
    await store.steps.begin(step(session_id), 1)
    assert await store.prompts.of(session_id) is None
    await store.steps.record_partial(step(session_id), 1, Reply("m", [{"type": "text", "text": "x"}], prompt=FIRST))
    await store.steps.begin(step(session_id), 2)
    await store.steps.record_reply(step(session_id), 2, Reply("m", [{"type": "text", "text": "x"}], prompt=OTHER))
    assert await store.prompts.of(session_id) == FIRST
