"""Resuming a stream (CONTRACT §3): ids, bad ids, JSON pages, replays, and how an EventSource is told to stop."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import pytest_asyncio

from api import sessions, stream
from tests.support.asking import cancel, follow, following, get, pages, play, problem, session, start
from tests.support.events import Event, facts, opened, the, types
from tests.support.stack import Stack
from tests.support.turns import calls, completes, script, slowly

DONE = script(calls(("exec", {"command": "echo hello"})), completes("Done."))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(stack: Stack) -> list[Event]:
    """All facts of a session that is over."""
    return facts(await play(stack.http, DONE))


@pytest.fixture
def path(told: list[Event]) -> str:
    return f"/api/sessions/{the(told, 'session:start')['sessionId']}/events"


@pytest.mark.parametrize("seen", [1, 4, 9])
async def test_after_an_id_come_exactly_the_facts_that_follow_it(
    http: httpx.AsyncClient, told: list[Event], path: str, seen: int
) -> None:
    for request in ({"params": {"after": str(seen)}}, {"headers": {"Last-Event-ID": str(seen)}}):
        async with opened(http, "GET", path, **request) as opened_stream:
            rest = await opened_stream.rest()
        assert [event.raw for event in rest] == [event.raw for event in told[seen:]]


async def test_a_fractional_id_of_a_step_that_is_over_brings_the_facts_after_it_and_no_delta(
    http: httpx.AsyncClient, told: list[Event], path: str
) -> None:
    async with opened(http, "GET", path, headers={"Last-Event-ID": "3.7"}) as opened_stream:
        assert [event.raw for event in await opened_stream.rest()] == [event.raw for event in told[3:]]


async def test_the_header_wins_over_the_address_as_an_eventsource_reconnects_with_both(
    http: httpx.AsyncClient, told: list[Event], path: str
) -> None:
    async with opened(http, "GET", path, params={"after": "1"}, headers={"Last-Event-ID": "5"}) as opened_stream:
        assert (await opened_stream.rest())[0].id == "6"


@pytest.mark.parametrize(
    "bad",
    ["-1", "+1", "x", "1.", ".1", "1.0", "1.2.3", "01", "1e3", "0x1", "٣", "1 2", "9" * 16, "999", "14.1", "null"],
)
async def test_an_id_of_another_form_or_beyond_the_last_fact_is_a_400(
    http: httpx.AsyncClient, path: str, bad: str
) -> None:
    problem(await http.get(path, params={"after": bad}), 400, "BAD_EVENT_ID")
    if bad.isascii():
        problem(await http.get(path, headers={"Last-Event-ID": bad}), 400, "BAD_EVENT_ID")


async def test_events_of_a_session_that_is_not_there_are_a_404(http: httpx.AsyncClient) -> None:
    problem(await http.get("/api/sessions/sess_none/events"), 404, "NOT_FOUND")


async def test_an_eventsource_that_has_seen_the_end_is_told_to_stop_by_204(
    http: httpx.AsyncClient, told: list[Event], path: str
) -> None:
    answer = await http.get(path, headers={"Last-Event-ID": told[-1].id})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_json_pages_tell_where_to_go_on_and_when_it_is_done(
    http: httpx.AsyncClient, told: list[Event], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PAGE", 5)
    wanted = {"Accept": "application/json"}
    first = await get(http, path, headers=wanted)
    assert [event["id"] for event in first["events"]] == ["1", "2", "3", "4", "5"]
    assert (first["nextAfter"], first["done"]) == ("5", False)
    assert [event.id for event in await pages(http, path.split("/")[3])] == [event.id for event in told]
    last = await get(http, path, headers=wanted, after=told[-1].id)
    assert last == {"events": [], "nextAfter": told[-1].id, "done": True}


async def test_a_json_page_of_a_running_session_is_not_done(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly()))
    async with following(http, running["id"]) as live:
        await live.until("content:delta")
    page = await get(http, f"/api/sessions/{running['id']}/events", headers={"Accept": "application/json"})
    assert [event["type"] for event in page["events"]] == ["user_message", "session:start", "step:start"]
    assert page["done"] is False
    await cancel(http, running["id"])
    assert (await follow(http, running["id"], "3"))[-1].type == "error"


async def test_a_reader_that_joins_in_the_middle_gets_the_deltas_so_far_and_a_returning_one_only_new_ones(
    http: httpx.AsyncClient,
) -> None:
    running = await start(http, script(slowly(2, pieces=200)))
    async with following(http, running["id"]) as first:
        await first.until(lambda event: event.id == "3.20")
    last = first.events[-1].id
    async with following(http, running["id"]) as late:
        await late.until(lambda event: event.id == "3.30")
    assert [event.raw for event in late.events[: len(first.events)]] == [event.raw for event in first.events]
    async with following(http, running["id"], **{"Last-Event-ID": last}) as again:
        await again.until(lambda event: event.id == "3.40")
        assert again.events[0].id == "3.21"
        rest = await again.rest()
    whole = {event.id: event for event in [*first.events, *rest]}
    assert [event.place for event in whole.values()] == sorted(event.place for event in whole.values())
    spoken = "".join(event.data["delta"] for event in whole.values() if event.type == "content:delta")
    assert spoken == the(list(whole.values()), "content")["text"]
    assert facts(await follow(http, running["id"])) == facts(list(whole.values()))


async def test_a_client_that_leaves_changes_nothing_for_the_session(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly(0.4, pieces=20), completes("Done.")))
    async with following(http, running["id"]) as live:
        await live.until("content:delta")
    assert types(await follow(http, running["id"]))[-1] == "message_saved"
    assert (await session(http, running["id"]))["status"] == "completed"


async def test_a_quiet_stream_beats_with_comments(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stream.HEARTBEAT_SECONDS == 15
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    running = await start(stack.http, script({"text": "late", "first_token_ms": 400}))
    async with following(stack.http, running["id"]) as quiet:
        await quiet.rest()
    assert len(quiet.comments) >= 3 and set(quiet.comments) == {b": heartbeat"}


async def test_two_readers_at_once_are_told_the_same(http: httpx.AsyncClient) -> None:
    running = await start(http, script(slowly(0.3, pieces=30), completes("Done.")))
    one, other = await asyncio.gather(follow(http, running["id"]), follow(http, running["id"]))
    assert [event.raw for event in facts(one)] == [event.raw for event in facts(other)]
