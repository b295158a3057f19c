"""Where workspaces are: claimed by the first step, followed by all later sessions, forgotten with the conversation."""

from __future__ import annotations

import asyncio

from session.resources import Session
from session.wire import Ending
from store import Store
from store.calls import WORKSPACE_AWAY
from tests.store.acting import begin_session, new_call, new_session, reply, step, tool, types


async def home_of(store: Store, session: Session, worker: str, number: int = 1) -> str:
    """What the workflow is told when a worker of this root makes the step."""
    at = step(session, number)
    await store.steps.begin(at, 1, None, worker)
    return (await store.steps.record_reply(at, 1, reply("a", new_call("c")))).home


async def test_a_new_workspace_is_where_its_first_step_was_made_and_stays_there(store: Store) -> None:
    session = await new_session(store)
    assert await home_of(store, session, "east") == "east"
    assert await home_of(store, session, "west", 2) == "east", "a later step is made by another machine"
    await store.endings.close(session.id, Ending("maxSteps"))
    next_one = (await begin_session(store, into=session.conversation_id)).session
    assert await home_of(store, next_one, "west") == "east", "so is a later session"
    assert await home_of(store, await new_session(store), "west") == "west", "another conversation has its own"


async def test_a_workspace_asked_for_by_name_is_one_place_for_all_who_ask(store: Store) -> None:
    spellings = ("shared/repo", "shared//repo", "./shared/repo", "shared/repo/", "shared/./repo", "shared/repo")
    sessions = [await new_session(store, workspace=spelling) for spelling in spellings]
    homes = await asyncio.gather(*(home_of(store, one, f"root{n}") for n, one in enumerate(sessions)))
    assert len(set(homes)) == 1


async def test_a_workspace_within_another_one_is_where_that_one_is(store: Store) -> None:
    inner = await new_session(store, workspace="shop/api")
    assert await home_of(store, inner, "east") == "east"
    for workspace in ("shop", "shop/api/tests", "shop/web"):
        assert await home_of(store, await new_session(store, workspace=workspace), "west") == "east", workspace
    assert await home_of(store, await new_session(store, workspace="shopping"), "west") == "west"
    assert await home_of(store, await new_session(store, workspace=f"{inner.conversation_id}/notes"), "west") == "west"
    await store.endings.close(inner.id, Ending("maxSteps"))
    own = (await begin_session(store, into=inner.conversation_id)).session
    assert await home_of(store, own, "east") == "west", "a conversation's own may be the outer one, too"


async def test_a_recorded_reply_that_is_asked_for_again_tells_the_same_home(store: Store) -> None:
    session = await new_session(store)
    await home_of(store, session, "east")
    begun = await store.steps.begin(step(session, epoch=2), 1, None, "west")
    assert begun.recorded is not None and begun.recorded.home == "east"


async def test_a_worker_without_a_root_of_its_own_claims_nothing(store: Store) -> None:
    session = await new_session(store)
    assert await home_of(store, session, "") == ""
    assert await home_of(store, session, "east", 2) == "east"


async def test_a_removed_conversations_name_is_free_again(store: Store) -> None:
    session = await new_session(store)
    assert await home_of(store, session, "east") == "east"
    await store.endings.close(session.id, Ending("maxSteps"))
    await store.conversations.delete(session.conversation_id)
    await store.conversations.create(session.conversation_id, None, None, {})
    again = (await begin_session(store, into=session.conversation_id)).session
    assert await home_of(store, again, "west") == "west"


async def test_a_call_that_no_worker_took_is_answered_once_and_never_run(store: Store) -> None:
    session = await new_session(store)
    await home_of(store, session, "east")
    ref = tool(step(session), "c")
    assert (await store.calls.abandon(ref)).status == "error"
    assert (await store.calls.abandon(ref)).status == "error"
    late = await store.calls.start(ref, 1)
    assert late.fate is not None and late.fate.status == "error", "a worker that comes late does not run it"
    assert (await types(store, session)).count("tool:result") == 1
    (answered,) = await store.transcripts.turns(session.id)
    assert WORKSPACE_AWAY.error is not None
    assert WORKSPACE_AWAY.error.code in str(answered)


async def test_a_started_call_that_is_abandoned_has_an_unknown_outcome(store: Store) -> None:
    session = await new_session(store)
    await store.steps.begin(step(session), 1, None, "east")
    await store.steps.record_reply(step(session), 1, reply("a", new_call("c", "sideEffect")))
    ref = tool(step(session), "c")
    assert (await store.calls.start(ref, 1)).fate is None
    assert (await store.calls.abandon(ref)).status == "error"
    (answered,) = await store.transcripts.turns(session.id)
    assert "OUTCOME_UNKNOWN" in str(answered)
