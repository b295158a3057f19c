"""Claims about the Valkey bus between processes: one order and one id for all, through restarts, pauses and losses."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session.live import KEEP_DELTAS, model_scope, tool_scope
from session.vocabulary import CancelMode
from store.valkey_incoming import CATCH_UP_SECONDS
from store.valkey_outgoing import MOST_WAITING
from tests.store.listening import Ear, buses, fact, settle, until
from tests.support.valkey import Valkey, running_valkey

SCOPE = model_scope(1)


async def test_readers_of_two_processes_hear_the_same_ids_from_two_publishers(valkey: Valkey) -> None:
    async with buses(valkey, 4) as (worker, api, a, b):
        one, other = Ear(a), Ear(b)
        await settle(worker, a, b)
        worker.publish_facts("s", [fact(3, SCOPE, 1)], False)
        await settle(worker)
        for n in range(20):
            worker.publish_delta("s", SCOPE, 1, f"{n}")
            if n == 10:
                api.publish_facts("s", [fact(4)], False)
        await settle(worker, a, b)
        await settle(api, a, b)
        late = Ear(b)  # of the same process as one that listens already
        assert one.heard == other.heard and len(one.heard) == 22
        assert late.heard == {at: text for at, text in one.heard.items() if "." in at}
    async with buses(valkey, 1) as (elsewhere,):
        joined = Ear(elsewhere)
        await settle(elsewhere)
        assert joined.heard == one.heard, "the running step, for whoever comes from another process"


async def test_a_newer_attempt_silences_the_older_one_in_another_process(valkey: Valkey) -> None:
    async with buses(valkey, 3) as (old, new, api):
        ear = Ear(api)
        await settle(old, api)
        old.publish_facts("s", [fact(3, SCOPE, 1)], False)
        old.publish_delta("s", SCOPE, 1, "first")
        await settle(old, api)
        new.publish_facts("s", [fact(4, SCOPE, 2)], False)
        await settle(new, api)
        old.publish_delta("s", SCOPE, 1, "stale")
        new.publish_delta("s", SCOPE, 2, "again")
        await settle(old, api)
        await settle(new, api)
        assert [text for at, text in ear.heard.items() if "." in at] == ["first", "again"]
        assert list(Ear(api).heard.values()) == ["again"]


async def test_a_fact_that_is_told_twice_is_heard_once(valkey: Valkey) -> None:
    async with buses(valkey, 2) as (worker, api):
        ear = Ear(api)
        await settle(worker, api)
        for _ in range(2):
            worker.publish_facts("s", [fact(3, SCOPE, 1), fact(4)], False)
            worker.publish_delta("s", SCOPE, 1, "x")
        await settle(worker, api)
        assert [at for at in ear.heard if "." not in at] == ["3", "4"]


async def test_a_cancel_is_heard_in_other_processes_also_by_those_who_come_later(valkey: Valkey) -> None:
    async with buses(valkey, 2) as (api, worker):
        hints: list[CancelMode] = []
        worker.on_cancel("s", hints.append)
        await settle(api, worker)
        api.hint_cancel("s", "now")
        await until(lambda: hints == ["now"], 2)
        worker.on_cancel("s", hints.append)
        assert hints == ["now", "now"]
    async with buses(valkey, 1) as (started_since,):
        late: list[CancelMode] = []
        started_since.on_cancel("s", late.append)
        await until(lambda: late == ["now"], 2)


async def test_after_a_restart_that_lost_everything_deltas_return_with_the_next_fact(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        async with buses(valkey, 2) as (worker, api):
            ear = Ear(api)
            await settle(worker, api)
            worker.publish_facts("s", [fact(3, SCOPE, 1)], False)
            worker.publish_delta("s", SCOPE, 1, "before")
            await settle(worker, api)
            valkey.kill()
            assert not await worker.is_up()
            worker.publish_delta("s", SCOPE, 1, "while it is away")
            worker.publish_facts("s", [fact(4)], False)
            valkey.start()
            await until(lambda: ear.heard.get("4") == "fact 4")
            worker.publish_delta("s", SCOPE, 1, "after")
            await until(lambda: "after" in ear.heard.values())
            assert await api.is_up()
            assert "while it is away" not in ear.heard.values() and len(set(ear.heard)) == 4


async def test_a_server_that_hangs_holds_nobody_up_and_is_heard_again(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        async with buses(valkey, 2) as (worker, api):
            ear = Ear(api)
            await settle(worker, api)
            worker.publish_facts("s", [fact(3, SCOPE, 1)], False)
            await settle(worker, api)
            valkey.pause()
            began = time.monotonic()
            for n in range(MOST_WAITING + 100):
                worker.publish_delta("s", SCOPE, 1, f"{n}")
            took = time.monotonic() - began
            assert len(worker._out._waiting) <= MOST_WAITING, "what waits is bounded"
            assert not await api.is_up()
            valkey.resume()
            worker.publish_facts("s", [fact(4)], False)
            await until(lambda: "4" in ear.heard)
    assert took < 5, "putting does not wait"


async def test_streams_are_bounded_and_keys_go_by_themselves(valkey: Valkey) -> None:
    async with buses(valkey, 1) as (bus,):
        bus.publish_facts("s", [fact(3, SCOPE, 1)], False)
        for n in range(KEEP_DELTAS * 2):
            bus.publish_delta("s", SCOPE, 1, f"{n}")
        bus.hint_cancel("s", "now")
        await settle(bus)
        key = bus._out._names.live("s")
        assert await bus._client.xlen(key) < KEEP_DELTAS * 1.1
        assert all([await bus._client.ttl(name) > 0 for name in await bus._client.keys("*")])
        bus.publish_facts("s", [fact(4)], True)
        await settle(bus)
        assert await bus._client.ttl(key) <= 60
        assert len(bus._in._watched) == 0


async def test_a_password_is_used_and_shown_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_valkey(tmp_path / "valkey", password="hush-hush-hush") as valkey:
        async with buses(valkey, 1) as (bus,):
            assert await bus.is_up()
            valkey.kill()
            bus.publish_facts("s", [fact(3)], False)
            await asyncio.sleep(0.1)
            assert "hush" not in repr(bus) + caplog.text


@pytest.mark.parametrize(
    "junk", ["junk", "9-1\nd 0 one step/1\nx", "9-1\nd 0 1 nowhere\nx", "nine\nd 0 1 step/1\nx", b"\xff"]
)
async def test_what_cannot_be_read_is_skipped_and_told_once(
    valkey: Valkey, junk: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with buses(valkey, 2) as (worker, api):
        ear = Ear(api)
        await settle(worker, api)
        worker.publish_facts("s", [fact(3, SCOPE, 1)], False)
        await settle(worker, api)
        key = worker._out._names.live("s")
        for _ in range(2):
            await worker._client.publish(key, junk)
            await worker._client.xadd(key, {"e": junk}, "3-*")
        await worker._client.xadd(key, {"other": junk}, "3-*")
        await worker._client.publish(worker._out._names.cancels, junk)
        worker.publish_delta("s", SCOPE, 1, "a")
        await settle(worker, api)
        assert list(ear.heard.values()) == ["fact 3", "a"]
        assert await api.is_up()
        async with buses(valkey, 1) as (late,):
            joined = Ear(late)
            await settle(worker, late)
            assert joined.heard == ear.heard
    assert len([said for said in caplog.records if "cannot be read" in said.message]) == 2, "once in each process"


async def test_a_bus_that_hears_nothing_is_not_up(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.valkey.ANSWER_SECONDS", 0.2)
    async with buses(valkey, 1) as (api,):
        Ear(api)
        await settle(api)
        assert await api.is_up()
        listening = api._in._listening
        assert listening is not None
        listening.cancel()
        assert not await api.is_up()


async def test_a_reader_who_waits_until_the_bus_has_caught_up_is_given_deltas_from_before_the_last_fact(
    valkey: Valkey,
) -> None:
    async with buses(valkey, 2) as (worker, api):
        worker.publish_facts("s", [fact(3, SCOPE, 1)], False)
        worker.publish_delta("s", tool_scope(1, "t"), 1, "x")
        worker.publish_facts("s", [fact(4)], False)
        await settle(worker)
        Ear(api)
        assert [frame.text for frame in await api.caught_up("s")] == ["x"]


async def test_a_bus_that_is_away_holds_no_reader_up(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        valkey.kill()
        async with buses(valkey, 1) as (api,):
            began = time.monotonic()
            for session_id in "abcdefgh":
                Ear(api, session_id)
                assert await api.caught_up(session_id) == []
            assert time.monotonic() - began < 8 * CATCH_UP_SECONDS, "the first may wait, not each"


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), st.sampled_from([0, 1]), st.integers(1, 3)),
        st.tuples(st.just("fact"), st.sampled_from([0, 1]), st.integers(0, 3)),
        st.tuples(st.just("join"), st.sampled_from([2, 3]), st.just(0)),
    ),
    max_size=40,
)


@given(acts=ACTS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whoever_listens_anywhere_agrees_on_every_id(
    valkey_server: Valkey, acts: list[tuple[str, int, int]]
) -> None:
    """Facts and deltas of several attempts from two processes, readers who join in two others, in any order."""
    session_id = f"s{time.monotonic_ns()}"
    async with buses(valkey_server, 4) as made:
        ears = [Ear(made[2], session_id)]
        await settle(made[0], *made[1:])
        offset = 0
        for kind, who, attempt in acts:
            if kind == "join":
                ears.append(Ear(made[who], session_id))
            elif kind == "fact":
                offset += 1
                made[who].publish_facts(session_id, [fact(offset, SCOPE if attempt else "", attempt)], False)
            else:
                made[who].publish_delta(session_id, SCOPE, attempt, f"{who}{attempt}")
        for publisher in made[:2]:
            await settle(publisher, *made[2:])
        told: dict[str, str] = {}
        for ear in ears:
            for at, text in ear.heard.items():
                assert told.setdefault(at, text) == text, "one id, one text"
        assert all(set(ear.heard) <= set(ears[0].heard) for ear in ears), "the first one heard all"
