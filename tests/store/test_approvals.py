"""Claims about approvals in the store: the first decision wins, nothing runs without one, all of it is on record."""

import asyncio
from typing import Any

import pytest

from session.resources import Approval, Session
from session.vocabulary import ApprovalDecision
from session.wire import DecisionRef, Ending, StepRef
from store import Store
from store.approvals import AsTold, NotPending, Offer
from store.ledger import NotFound
from tests.store.acting import EXEC, OK, Clock, asking, new_session, reply, step, story, tool

TOOLS = {"exec": EXEC}


async def waiting(store: Store, command: str = "git push origin", **said: Any) -> tuple[Session, StepRef, Approval]:
    """A session whose only call waits for an approval."""
    session = await new_session(store, **said)
    at = step(session)
    await store.steps.begin(at, 1)
    told = await store.steps.record_reply(at, 1, reply("", asking("t1", command=command)))
    return session, at, await store.approvals.get(told.calls[0].approval_id)


async def settle(store: Store, approval: Approval, decision: ApprovalDecision, **more: object) -> bool:
    decided = await store.approvals.offer(approval.id, Offer(decision, "ann", **more))  # type: ignore[arg-type]
    return await store.approvals.settle(DecisionRef(approval.session_id, approval.id, decided), TOOLS, None)


async def test_a_reply_that_asks_brings_its_approval_and_fact_with_it(store: Store, clock: Clock) -> None:
    session, _, approval = await waiting(store)
    assert (approval.status, approval.decision, approval.by) == ("pending", None, None)
    assert approval.tool_call_id == "t1"
    assert approval.arguments == {"command": "git push origin"}
    told = await story(store, session)
    assert [fact.type for fact in told[-2:]] == ["tool:call", "approval:required"]
    assert told[-1].data["expiresAt"] == approval.expires_at
    listed, _ = await store.approvals.list("pending", session.id, None, None, 10)
    assert listed == [approval]


async def test_an_approved_call_runs_and_a_denied_one_is_answered_with_the_reason(store: Store) -> None:
    _, at, approval = await waiting(store)
    assert await settle(store, approval, "allow-once")
    claim = await store.calls.start(tool(at, "t1", "ask"), 1)
    assert claim.fate is None
    assert not claim.edited
    session, at, approval = await waiting(store)
    assert await settle(store, approval, "deny", reason="not on a Friday")
    refused = await store.calls.start(tool(at, "t1", "ask"), 1)
    assert refused.fate is not None
    assert refused.fate.status == "error"
    result = next(fact for fact in await story(store, session) if fact.type == "tool:result").data["result"]
    assert result["error"]["code"] == "DENIED"
    assert "not on a Friday" in result["error"]["message"]


async def test_of_two_decisions_the_first_wins_and_the_second_changes_nothing(store: Store) -> None:
    session, _, approval = await waiting(store)
    first = await store.approvals.offer(approval.id, Offer("allow-once", "ann"))
    second = await store.approvals.offer(approval.id, Offer("deny", "bob"))
    won = await asyncio.gather(
        *(store.approvals.settle(DecisionRef(session.id, approval.id, one), TOOLS, None) for one in (first, second))
    )
    assert sorted(won) == [False, True]
    settled = await store.approvals.get(approval.id)
    assert settled.by == ("ann" if won[0] else "bob")
    assert [fact.type for fact in await story(store, session)].count("approval:resolved") == 1
    with pytest.raises(NotPending):
        await store.approvals.offer(approval.id, Offer("deny", "eve"))


async def test_a_call_whose_wait_is_over_without_a_decision_expires_and_never_runs(store: Store) -> None:
    session, at, approval = await waiting(store)
    claim = await store.calls.start(tool(at, "t1", "ask"), 1)
    assert claim.fate is not None
    assert (await store.approvals.get(approval.id)).status == "expired"
    told = await story(store, session)
    assert [fact.type for fact in told[-3:]] == ["approval:resolved", "tool:result", "step:complete"]
    assert told[-3].data == {"approvalId": approval.id, "decision": "expired", "by": "perdure"}
    assert told[-2].data["result"]["error"]["code"] == "APPROVAL_EXPIRED"


async def test_edited_arguments_replace_the_models_and_are_said(store: Store) -> None:
    _, at, approval = await waiting(store)
    assert await settle(store, approval, "allow-once", arguments={"command": "git push --dry-run"})
    claim = await store.calls.start(tool(at, "t1", "ask"), 1)
    assert claim.edited
    assert claim.arguments == {"command": "git push --dry-run"}


async def test_edited_arguments_bring_their_own_effect_and_run_once(store: Store) -> None:
    session = await new_session(store)
    at = step(session)
    await store.steps.begin(at, 1)
    told = await store.steps.record_reply(at, 1, reply("", asking("t1", "readOnly", command="GET")))
    approval = await store.approvals.get(told.calls[0].approval_id)
    decided = await store.approvals.offer(approval.id, Offer("allow-once", "ann", arguments={"command": "POST"}))
    effect = AsTold({"command": "POST"}, effect="sideEffect")
    assert await store.approvals.settle(DecisionRef(session.id, approval.id, decided), TOOLS, effect)
    assert (await store.calls.start(tool(at, "t1", "ask"), 1)).fate is None
    again = await store.calls.start(tool(at, "t1", "ask"), 2)
    assert again.fate is not None and again.fate.status == "error", "its fate is unknown: it is not sent twice"


async def test_allowing_always_is_remembered_by_the_conversation_alone(store: Store) -> None:
    session, _, approval = await waiting(store)
    assert await settle(store, approval, "allow-always")
    assert await store.approvals.granted(session.conversation_id) == ["exec(git push *)"]
    other = await new_session(store)
    assert await store.approvals.granted(other.conversation_id) == []


async def test_a_session_that_ends_takes_its_approvals_with_it(store: Store) -> None:
    session, _, approval = await waiting(store)
    decided = await store.approvals.offer(approval.id, Offer("allow-once", "ann"))
    assert await store.endings.close(session.id, Ending("cancelled"))
    assert (await store.approvals.get(approval.id)).status == "expired"
    assert not await store.approvals.settle(DecisionRef(session.id, approval.id, decided), TOOLS, None)
    types = [fact.type for fact in await story(store, session)]
    assert types.index("approval:resolved") < types.index("tool:result") < types.index("error")


async def test_a_call_that_waits_when_its_session_ends_has_one_entry_in_the_audit(store: Store) -> None:
    for decision, kind in ((None, "expiry"), ("deny", "denial")):
        session, _, approval = await waiting(store)
        if decision == "deny":
            await settle(store, approval, "deny")
        assert await store.endings.close(session.id, Ending("timeout"))
        entries, _ = await store.audit.of_session(session.id, None, 10)
        assert [entry.kind for entry in entries if entry.tool_call_id is not None] == [kind]


async def test_an_approval_never_outlives_the_sessions_deadline(store: Store, clock: Clock) -> None:
    session, _, approval = await waiting(store, timeout_seconds=7)
    assert approval.expires_at == session.deadline


async def test_every_decision_is_on_record_with_who_made_it(store: Store) -> None:
    session, at, approval = await waiting(store)
    await settle(store, approval, "allow-once")
    await store.calls.start(tool(at, "t1", "ask"), 1)
    await store.calls.record(tool(at, "t1", "ask"), 1, OK, 5)
    entries, _ = await store.audit.of_session(session.id, None, 10)
    assert [(entry.kind, entry.by, entry.status) for entry in entries] == [
        ("approval", "ann", "approved"),
        ("call", "local", "success"),
    ]
    assert entries[0].arguments == {"command": "git push origin"}


async def test_what_does_not_exist_cannot_be_decided(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.approvals.offer("appr_none", Offer("deny", "ann"))
