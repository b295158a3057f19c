"""Claims about kept system prompts: with the first reply, and never again."""

from __future__ import annotations

from pathlib import Path

from activities.catalog import Catalog
from activities.prompts import Prompts
from activities.surroundings import Surroundings
from activities.workspaces import Workspaces
from session.policy import ToolPolicy
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


async def test_a_prompt_that_was_made_here_gives_way_to_the_one_that_was_kept(store: Store, tmp_path: Path) -> None:
    session = await new_session(store)
    row = await store.sessions.row(session.id)
    prompts = Prompts(store, Surroundings(Workspaces(tmp_path), Catalog(ToolPolicy())))
    assert await prompts.of(row, 1, agent=False) != OTHER
    await store.steps.begin(step(session), 2)  # as another worker does, when this one was lost
    await store.steps.record_reply(step(session), 2, Reply("m", [{"type": "text", "text": "x"}], prompt=OTHER))
    assert await prompts.of(row, 2, agent=False) == OTHER
