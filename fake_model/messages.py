"""POST /v1/messages and /v1/messages/count_tokens as plain ASGI, so that raw frames go straight to the socket."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from fake_model.abilities import abilities
from fake_model.billing import PromptCache, tokens
from fake_model.faults import BadToolJson, Fault, Status
from fake_model.fields import JsonObject, an_object
from fake_model.playing import Playing, as_error
from fake_model.prompt import Prompt
from fake_model.rates import Headers as Told
from fake_model.rates import Rates
from fake_model.record import Log, Record, plain_text
from fake_model.refusal import Refused, error_body
from fake_model.reply import Reply, lay_out
from fake_model.scripts import Scripts, Turn
from fake_model.strict import check_headers, check_request
from fake_model.summing import asks_for_summary, facts_in, resumed

MAX_BODY_BYTES = 32 * 1024 * 1024
SUMMARIES = -1
"""The `ask` of a request for a summary: it is no turn of the session that it is made for."""


class Place(NamedTuple):
    """Where in a conversation a request stands: its session, its last plain user message and the turn after it."""

    session: str
    ask: int
    turn: int
    text: str


def place_of(body: JsonObject) -> Place:
    """The place of a good request. `ask` is the index of the last user message that is more than tool results. Turns
    that a summary stands for count as well."""
    messages = body["messages"]
    plain = [
        (index, plain_text(message["content"])) for index, message in enumerate(messages) if message["role"] == "user"
    ]
    asks = [(index, text) for index, text in plain if text is not None]
    ask, text = asks[-1]
    session = (body.get("metadata") or {}).get("user_id") or blake2b(asks[0][1].encode(), digest_size=8).hexdigest()
    if asks_for_summary(body):
        return Place(session, SUMMARIES, 0, text)
    text, before = resumed(text)
    turn = before + sum(message["role"] == "assistant" for message in messages[ask:])
    return Place(session, ask, turn, text)


class Messages:
    """The endpoint that answers with replies."""

    def __init__(self, scripts: Scripts, log: Log, rates: Rates, window: int | None = None) -> None:
        self._rates = rates
        self._scripts = scripts
        self._log = log
        self._window = window
        self._cache = PromptCache()
        self._requests = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_{next(self._requests):024d}"
        record = self._log.open()
        told: Told = []
        try:
            body = await _read_body(receive)
            if body is None:
                record.close("aborted", "the client closed the connection before its request was whole")
                return
            playing = self._understand(body, Headers(scope=scope), record, request_id, send, told)
            await playing[0].run(receive, streamed=playing[1])
        except Refused as refused:
            record.status = refused.status
            is_bad = record.turn is None and refused.status != 429
            record.close("refused" if is_bad else "error", refused.message)
            await _send_error(send, refused, request_id, told)

    def _understand(
        self, raw: bytes, headers: Mapping[str, str], record: Record, request_id: str, send: Send, told: Told
    ) -> tuple[Playing, bool]:
        key, version = check_headers(headers)
        body = _parse(raw)
        self._log.note_request(record, body)
        prompt, thinks = check_request(body, version)
        self._rates.take(f"{key} {body['model']}", told)
        _check_window(body, prompt, self._window)
        place = place_of(body)
        declared = frozenset(tool["name"] for tool in body.get("tools") or ())
        summing = place.ask == SUMMARIES
        script = self._scripts.summing() if summing else self._scripts.choose(place.text, declared)
        record.script = script.name
        turn = script.turn(place.turn, facts_in(body) if summing or "{facts}" in place.text else ())
        _check_tools(turn, declared)
        self._log.note_turn(record, place.session, place.ask, place.turn)
        fault = turn.faults[record.nth - 1] if record.nth <= len(turn.faults) else None
        if isinstance(fault, Status):
            raise as_error(fault)
        reply = self._lay_out(body, turn, record, prompt, thinks, fault, key)
        return Playing(reply, fault, record, request_id, send, told), body.get("stream", False)

    def _lay_out(
        self, body: JsonObject, turn: Turn, record: Record, prompt: Prompt, thinks: bool, fault: Fault | None, key: str
    ) -> Reply:
        model: str = body["model"]
        rules = abilities(model)
        display = (body.get("thinking") or {}).get("display")
        return lay_out(
            turn,
            name=f"{record.session}/{record.ask}/{record.turn}/{record.nth}",
            model=model,
            bill=self._cache.bill(f"{key} {model}", prompt),
            prompt=prompt.before[-1],
            thinks=thinks,
            hidden=display == "omitted" if display else rules is not None and rules.hides_thinking,
            broken=isinstance(fault, BadToolJson),
            max_tokens=body["max_tokens"],
        )


class CountTokens:
    """The endpoint that only counts. It is not logged: nothing is bought."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raw = await _read_body(receive)
            if raw is None:
                return
            _, version = check_headers(Headers(scope=scope))
            prompt, _ = check_request(_parse(raw), version, counting=True)
        except Refused as refused:
            await _send_error(send, refused, "req_count")
            return
        await _send_json(send, 200, b'{"input_tokens":%d}' % tokens(prompt.total_chars), "req_count")


def _check_window(body: JsonObject, prompt: Prompt, window: int | None) -> None:
    rules = abilities(body["model"])
    most = window or (rules.window if rules is not None else 0)
    counted = tokens(prompt.total_chars)
    if counted > most:
        raise Refused(f"prompt is too long: {counted} tokens > {most} maximum")


def _check_tools(turn: Turn, declared: frozenset[str]) -> None:
    """A script that calls what the request does not declare is a mistake in the test: say so at once."""
    for tool in turn.tools:
        if tool.name not in declared:
            raise Refused(f"script: the turn calls `{tool.name}`, which the request does not declare")


def _parse(raw: bytes) -> JsonObject:
    try:
        return an_object("body", from_json(raw, allow_inf_nan=False))
    except ValueError as error:
        raise Refused(f"The request body is not valid JSON: {error}") from None


async def _read_body(receive: Receive) -> bytes | None:
    """The body, or None when the client left before its end. What is too long is read to its end and dropped."""
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        if not message.get("more_body", False):
            break
    if size > MAX_BODY_BYTES:
        raise Refused("Request exceeds the maximum size", 413)
    return b"".join(parts)


async def _send_error(send: Send, refused: Refused, request_id: str, told: Told | None = None) -> None:
    body = error_body(refused.kind, refused.message, request_id)
    told = list(told or ())
    if refused.retry_after is not None:
        told.append((b"retry-after", f"{refused.retry_after:g}".encode()))
    await _send_json(send, refused.status, body, request_id, told)


async def _send_json(send: Send, status: int, body: bytes, request_id: str, told: Told | None = None) -> None:
    headers = [
        *(told or ()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
