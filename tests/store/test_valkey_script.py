"""Claims about what the Valkey server is told to do: fencing, bounds, and ids that never come twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session.live import KEEP_BYTES, KEEP_DELTAS, Position, model_scope, tool_scope
from store.bus import InProcessBus
from store.valkey_outgoing import MOST_WAITING_BYTES
from tests.store.listening import Ear, buses, fact, settle, until
from tests.support.valkey import Valkey, running_valkey

SCOPE, TOOL, NEXT = model_scope(1), tool_scope(1, "t"), model_scope(2)


async def test_a_scope_closed_by_a_fact_that_was_told_too_late_is_closed(valkey: Valkey) -> None:
    async with buses(valkey, 3) as (one, other, api):
        ear = Ear(api)
        await settle(one, other, api)
        one.publish_facts("s", [fact(3, SCOPE, 1)], False)
        one.publish_delta("s", TOOL, 1, "early")
        await settle(one, api)
        other.publish_facts("s", [fact(5)], False)
        await settle(other, api)
        one.publish_facts("s", [fact(4, TOOL)], False)
        one.publish_delta("s", TOOL, 1, "late")
        one.publish_delta("s", SCOPE, 1, "of the model")
        await settle(one, api)
        assert list(ear.heard.values()) == ["fact 3", "early", "fact 5", "of the model"]
        assert [frame.text for frame in await api.caught_up("s")] == ["of the model"]


async def test_a_fence_holds_for_those_who_join_when_its_fact_was_trimmed(valkey: Valkey) -> None:
    async with buses(valkey, 3) as (worker, a, b):
        listener = Ear(a)
        worker.publish_facts("s", [fact(3, SCOPE, 1), fact(4, SCOPE, 2)], False)
        for n in range(KEEP_DELTAS + 500):
            worker.publish_delta("s", SCOPE, 2, f"{n}")
        await settle(worker, a)
        late = Ear(b)
        await settle(worker, b)
        assert "4" not in late.heard, "the announcement is gone from the stream"
        worker.publish_delta("s", SCOPE, 1, "stale")
        worker.publish_delta("s", SCOPE, 2, "end")
        await settle(worker, a, b)
        for ear in (listener, late):
            assert "stale" not in ear.heard.values() and "end" in ear.heard.values()


@pytest.mark.parametrize("as_facts", [False, True])
async def test_a_stream_is_bounded_by_the_size_of_its_texts(valkey: Valkey, as_facts: bool) -> None:
    async with buses(valkey, 1) as (worker,):
        worker.publish_facts("s", [fact(3, SCOPE, 1)], False)
        key = worker._out._names.live("s")
        for n in range(150):
            if as_facts:
                worker.publish_facts("s", [fact(n + 4, text=f"{n}" + "x" * 16_000)], False)
            else:
                worker.publish_delta("s", SCOPE, 1, f"{n}" + "x" * 16_000)
        await settle(worker)
        stream: Any = await worker._client.xrange(key)
        held = [fields["e"] for _, fields in stream]
        assert KEEP_BYTES / 2 < sum(map(len, held)) <= KEEP_BYTES
        assert held[-1].split("\n")[1].startswith("149"), "the newest stay"
        worker.publish_facts("s", [fact(200, text="y" * (2 * KEEP_BYTES))], False)
        await settle(worker)
        assert await worker._client.xlen(key) == 1, "one that is larger than the bound stands alone"


async def test_facts_alone_are_bounded_by_count(valkey: Valkey) -> None:
    async with buses(valkey, 1) as (worker,):
        worker.publish_facts("s", [fact(n) for n in range(1, KEEP_DELTAS + 1000)], False)
        await settle(worker)
        assert await worker._client.xlen(worker._out._names.live("s")) < KEEP_DELTAS * 1.1


async def test_what_waits_while_the_server_is_away_is_bounded_by_size(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        async with buses(valkey, 1) as (worker,):
            valkey.kill()
            for n in range(100):
                worker.publish_facts("s", [fact(n + 1, text=f"{n}" + "y" * 400_000)], False)
            waiting = worker._out._waiting
            assert 0 < len(waiting) < 100 and waiting.size <= MOST_WAITING_BYTES
            assert worker.dropped == 100 - len(waiting)


async def test_a_server_that_comes_back_with_an_older_state_gives_no_id_twice(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        async with buses(valkey, 4) as (worker, other, a, b):
            listener = Ear(a)
            await settle(worker, a)
            worker.publish_facts("s", [fact(3, SCOPE, 1), fact(4, TOOL)], False)
            worker.publish_delta("s", SCOPE, 1, "one")
            other.publish_facts("t", [fact(1)], False)
            await settle(worker, other, a)
            await worker._client.save()
            worker.publish_delta("s", SCOPE, 1, "two")
            await settle(worker, a)
            valkey.restart()
            worker.publish_facts("t", [fact(2)], False)  # its publisher knows that the server is another
            await settle(worker)
            other.publish_delta("s", SCOPE, 1, "lost")  # this one does not yet
            await settle(other)
            assert other.dropped == 1
            other.publish_facts("s", [fact(5)], False)
            other.publish_delta("s", SCOPE, 1, "three")
            other.publish_delta("s", TOOL, 1, "closed before")
            await settle(other, a)
            late = Ear(b)
            await settle(other, b)
            assert list(listener.heard.values()) == ["fact 3", "fact 4", "one", "two", "fact 5", "three"]
            assert late.heard == {"5": "fact 5", "5.1": "three"}


async def test_deltas_after_a_fact_that_was_sent_again_have_ids_of_their_own(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        async with buses(valkey, 2) as (worker, api):
            ear = Ear(api)
            await settle(worker, api)
            told = [fact(3, SCOPE, 1), fact(4)]
            worker.publish_facts("s", told, False)
            worker.publish_delta("s", SCOPE, 1, "before")
            await settle(worker, api)
            valkey.kill()
            worker.publish_facts("s", told, False)  # as if the answer to them had been lost
            await until(lambda: worker._out._script == "")
            valkey.start()
            await settle(worker, api)
            for text in "ab":
                worker.publish_delta("s", SCOPE, 1, text)
                await settle(worker, api)
            assert list(ear.heard.values()) == ["fact 3", "fact 4", "before", "a", "b"]
            first, second = (Position.parse(at) for at in list(ear.heard)[-2:])
            assert first.offset == 4 and first.n > 1_700_000_000_000 and second == Position(4, first.n + 1)
            worker.publish_facts("s", [fact(5)], False)
            worker.publish_delta("s", SCOPE, 1, "c")
            await settle(worker, api)
            assert ear.heard["5.1"] == "c"


async def test_one_session_that_the_server_refuses_does_not_silence_the_others(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with buses(valkey, 2) as (worker, api):
        ear = Ear(api, "well")
        Ear(api, "ill")
        await settle(worker, api)
        await worker._client.set(worker._out._names.live("ill"), "not a stream")
        await worker._client.script_flush()
        for n in range(3):
            for session_id in ("ill", "well"):
                worker.publish_facts(session_id, [fact(n + 1, SCOPE, 1)], False)
            worker.publish_delta("well", SCOPE, 1, "x")
            await settle(worker, api)
        assert list(ear.heard) == ["1", "1.1", "2", "2.1", "3", "3.1"]
        assert worker.dropped == 3
        Ear(api, "ill").leave()
        assert await api.is_up()
    assert len([said for said in caplog.records if "refused" in said.message]) == 1


SCOPES = st.sampled_from([SCOPE, TOOL, NEXT, tool_scope(2, "t")])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), SCOPES, st.integers(1, 3)),
        st.tuples(st.integers(1, 12), st.one_of(SCOPES, st.just("")), st.integers(0, 3)),
    ),
    max_size=30,
)


@given(acts=ACTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_server_fences_as_the_pure_rules_do(
    valkey_server: Valkey, acts: list[tuple[str | int, str, int]]
) -> None:
    """Facts and deltas in any order: a reader in another process hears what one of the same process would hear."""
    async with buses(valkey_server, 2) as (worker, api):
        await worker._client.delete(worker._out._names.live("s"), worker._out._names.words("s"))
        ear, pure = Ear(api), Ear(InProcessBus())
        await settle(worker, api)
        for kind, scope, attempt in acts:
            for bus in (worker, pure.bus):
                if isinstance(kind, int):
                    bus.publish_facts("s", [fact(kind, scope, attempt)], False)
                else:
                    bus.publish_delta("s", scope, attempt, f"{scope} {attempt}")
        await settle(worker, api)
        assert ear.heard == pure.heard
        stream: Any = await worker._client.xrange(worker._out._names.live("s"))
        told = {at.removesuffix("-0").replace("-", ".") for at, _ in stream}
        assert told <= set(pure.heard), "a fenced delta is not even kept"
