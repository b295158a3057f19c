"""Readers that do not keep up, and servers that stop (CONTRACT §3, DESIGN §6)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import pytest

from api import feed, stream
from api.app import create_app
from session.events import ContentDelta
from session.live import Frame, Position, StoredFact, model_scope
from store import Store, StoreUnavailable
from store.bus import InProcessBus
from store.facts import Facts, Head
from tests.support.asking import cancel, conversation, follow, following, problem, start
from tests.support.events import facts, the, types
from tests.support.stack import Stack, http_client, served
from tests.support.turns import says, script, slowly

LIMIT = 1 << 18


async def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait until `holds`; `what` says for what."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited in vain until {what}")


def deaf(url: str, path: str) -> socket.socket:
    """A client that asks for a stream and never reads it."""
    where = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((where.hostname, where.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
    return connection


async def test_a_reader_that_takes_nothing_holds_a_bounded_amount_and_is_closed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "READER_BYTES", LIMIT)
    monkeypatch.setattr(stream, "SEND_TIMEOUT_SECONDS", 1)
    running = await start(stack.http, script(slowly()))
    feeds = stack.parts.feeds
    async with following(stack.http, running["id"]) as well:
        await well.until("content:delta")
        before = feeds.readers
        connection = deaf(stack.url, f"/api/sessions/{running['id']}/events")
        await until("it reads", lambda: feeds.readers == before + 1)
        readers = list(feeds._feeds[running["id"]]._readers)
        frame = ContentDelta(step=1, delta="x" * 20_000).frame(0)
        held = 0
        for _ in range(350):
            stack.store.bus.publish_delta(running["id"], model_scope(1), 1, frame)
            held = max(held, *(reader.size for reader in readers))
            await well.next()
        assert sum(reader.dropped for reader in readers) == 1, "7 MB were too much for one of the two"
        assert LIMIT / 2 < held <= LIMIT + len(frame)
        await until("it is closed", lambda: feeds.readers == before)
        await cancel(stack.http, running["id"])
        assert (await well.rest())[-1].type == "error", "the other reader goes on to the end"
    connection.close()


async def test_a_mailbox_that_ran_over_is_let_go_and_takes_no_more() -> None:
    reader = feed.Reader()
    frame = Frame(Position(1, 1), "x" * 1000)
    for _ in range(2 * feed.READER_FRAMES):
        reader.put([frame], False)
    assert reader.is_dropped() and reader.size == 0 and not reader.frames


async def test_a_server_that_stops_ends_its_streams_in_order_and_clients_go_on_elsewhere(stack: Stack) -> None:
    app = create_app(stack.settings, stack.store, stack.client, task_queue=stack.task_queue)
    running = await start(stack.http, script(slowly(1.5, pieces=150)))
    async with served(app) as url, http_client(url) as other, following(other, running["id"]) as stopped:
        await stopped.until(lambda event: event.id == "3.10")
        app.state.parts.feeds.close()
        seen = await stopped.rest()
        async with following(stack.http, running["id"], **{"Last-Event-ID": seen[-1].id}) as resumed:
            rest = await resumed.rest()
    assert seen[-1].type == rest[0].type == "content:delta"
    whole = [*seen, *rest]
    assert [event.place for event in whole] == sorted({event.place for event in whole})
    spoken = "".join(event.data["delta"] for event in whole if event.type == "content:delta")
    assert spoken == the(whole, "content")["text"] and types(whole)[-1] == "message_saved"
    assert [event.raw for event in facts(whole)] == [event.raw for event in await follow(stack.http, running["id"])]


async def test_a_server_that_stops_begins_no_stream_and_says_where_a_single_reply_goes_on(stack: Stack) -> None:
    app = create_app(stack.settings, stack.store, stack.client, task_queue=stack.task_queue)
    body = {"content": script(says("Slow."))}
    headers = {"Idempotency-Key": "stop"}
    path = f"/api/chat/conversations/{await conversation(stack.http)}/messages"
    async with served(app) as url, http_client(url) as other:
        app.state.parts.feeds.close()
        answer = await other.post(path, json=body, headers=headers)
        session_id = problem(answer, 503, "STILL_RUNNING")["sessionId"]
        assert int(answer.headers["retry-after"]) > 0
        async with following(other, session_id) as late:
            assert await late.rest() == []
    again = await stack.http.post(path, json=body, headers=headers)
    assert again.json()["assistantMessage"]["content"] == "Slow."
    assert again.json()["assistantMessage"]["sessionId"] == session_id


async def test_a_replay_of_what_is_over_has_facts_only_even_where_the_bus_missed_the_end(stack: Stack) -> None:
    over = await start(stack.http, script(says("Said and done.")))
    seen = facts(await follow(stack.http, over["id"]))
    begun = next(event for event in seen if event.type == "step:start")
    store = Store.over(stack.store.database, InProcessBus())
    fact = StoredFact(int(begun.id), "step/1", begun.raw.decode(), model_scope(1), 1)
    store.bus.publish_facts(over["id"], [fact], over=False)
    store.bus.publish_delta(over["id"], model_scope(1), 1, ContentDelta(step=1, delta="Said").frame(0))
    kept = await store.bus.caught_up(over["id"])
    assert [str(frame.at) for frame in kept] == [f"{begun.id}.1"], "this bus believes that the step runs"
    app = create_app(stack.settings, store, stack.client, task_queue=stack.task_queue)
    async with served(app) as url, http_client(url) as other:
        assert [event.raw for event in await follow(other, over["id"])] == [event.raw for event in seen]


async def test_sessions_of_which_the_bus_is_silent_are_asked_about_together(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.over(stack.store.database, InProcessBus())
    asked: list[set[str]] = []

    async def heads(session_ids: Sequence[str]) -> dict[str, Head]:
        asked.append(set(session_ids))
        if len(asked) == 3:
            raise StoreUnavailable
        if len(asked) == 4:
            raise RuntimeError("of no kind that is known")
        return await Facts.heads(store.facts, session_ids)

    monkeypatch.setattr(store.facts, "heads", heads)
    app = create_app(stack.settings, store, stack.client, task_queue=stack.task_queue)
    async with served(app) as url, http_client(url) as other:
        running = [await start(stack.http, script(slowly(1.0, pieces=10))) for _ in range(5)]
        told = await asyncio.gather(*(follow(other, session["id"]) for session in running))
        feeds = app.state.parts.feeds
        await until("nobody is looked after", lambda: not feeds._feeds and feeds._looking is None)
    for session, seen in zip(running, told, strict=True):
        assert [event.raw for event in facts(seen)] == [event.raw for event in await follow(stack.http, session["id"])]
    assert max(map(len, asked)) > 1 and len(asked) > 4, "it went on after both failures"
