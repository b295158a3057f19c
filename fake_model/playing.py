"""Plays a reply to its client: frames on an absolute schedule, and the fault that the script asks for.

A client that closes first is noticed at once, also in the middle of a sleep: a second task waits for the disconnect and
ends the playing one.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from math import floor

from starlette.types import Receive, Send

from fake_model import frames
from fake_model.faults import BadToolJson, CleanCut, Cut, ErrorEvent, Fault, LostEnd, Stall, Status
from fake_model.rates import Headers
from fake_model.record import Outcome, Record
from fake_model.refusal import Refused, error_type
from fake_model.reply import Delta, Reply

MAX_BATCH = 256
_SSE = b"text/event-stream; charset=utf-8"
_STATUS_OF = {"overloaded_error": 529, "api_error": 500, "rate_limit_error": 429, "timeout_error": 504}


class Playing:
    """One reply on its way. The record is closed when the last byte was handed to the socket, or when it ends early."""

    def __init__(
        self, reply: Reply, fault: Fault | None, record: Record, request_id: str, send: Send, told: Headers
    ) -> None:
        self._told = told
        self._reply = reply
        self._fault = fault
        self._record = record
        self._request_id = request_id
        self._send = send
        self._sent = 0
        self._begun = asyncio.get_running_loop().time()

    async def run(self, receive: Receive, *, streamed: bool) -> None:
        """Plays to the end, the fault, or the client's disconnect."""
        self._record.status = 200
        play = self._stream() if streamed else self._answer()
        if self._is_instant():
            await play
            return
        playing = asyncio.ensure_future(play)
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            await asyncio.wait((playing, gone), return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
            else:
                self._close("aborted", "the client closed the connection")
        finally:
            playing.cancel()
            gone.cancel()
            self._close("aborted", "the server was stopped")

    def _is_instant(self) -> bool:
        turn = self._reply.turn
        return not (turn.first_token_ms or turn.token_ms or isinstance(self._fault, (Stall, LostEnd)))

    async def _stream(self) -> None:
        reply = self._reply
        ended = self._early_end()
        limit = len(reply.deltas) if ended is None else min(ended.after_deltas, len(reply.deltas))
        await self._start(_SSE)
        self._tell(1)
        if ended is None and self._is_instant():
            await self._write(reply.head + self._joined(0, limit) + reply.tail, more=False)
            self._complete()
            return
        await self._write(reply.head)
        await self._write_deltas(limit)
        if ended is not None:
            await self._fail(ended)
            return
        await self._write(reply.tail, more=isinstance(self._fault, LostEnd))
        self._complete()
        if isinstance(self._fault, LostEnd):
            await asyncio.sleep(self._fault.seconds)

    def _early_end(self) -> ErrorEvent | Cut | CleanCut | Stall | None:
        return self._fault if isinstance(self._fault, (ErrorEvent, Cut, CleanCut, Stall)) else None

    async def _write_deltas(self, limit: int) -> None:
        """Writes each delta when it is due; those that are late go out together."""
        while self._sent < limit:
            at = self._sent
            await self._sleep_until(at)
            until = min(limit, at + self._due_now(at))
            await self._write(self._joined(at, until))
            self._sent = until

    def _joined(self, start: int, end: int) -> bytes:
        return b"".join([_frame(delta) for delta in self._reply.deltas[start:end]])

    def _due_now(self, at: int) -> int:
        pace = self._reply.turn.token_ms / 1000
        if not pace:
            return MAX_BATCH
        late = asyncio.get_running_loop().time() - self._due(at)
        return 1 + min(MAX_BATCH, max(0, floor(late / pace)))

    def _due(self, at: int) -> float:
        turn = self._reply.turn
        return self._begun + (turn.first_token_ms + at * turn.token_ms) / 1000

    async def _sleep_until(self, at: int) -> None:
        delay = self._due(at) - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)

    async def _fail(self, fault: ErrorEvent | Cut | CleanCut | Stall) -> None:
        if isinstance(fault, Stall):
            await asyncio.sleep(fault.seconds)
            self._close("stalled", "stall")
        elif isinstance(fault, ErrorEvent):
            error = {"error": {"type": fault.error_type, "message": fault.message}, "request_id": self._request_id}
            self._close("error", fault.error_type)
            await self._write(frames.event("error", error), more=False)
        else:
            self._close("cut", fault.kind)
            if isinstance(fault, CleanCut):
                await self._write(b"", more=False)
        # A cut, a stall and a lost end return with the body unfinished: the server then closes the connection.

    async def _answer(self) -> None:
        fault = self._fault
        if isinstance(fault, ErrorEvent):
            status = _STATUS_OF.get(fault.error_type, 500)
            raise Refused(fault.message, status, kind=fault.error_type)
        if isinstance(fault, Stall):
            await self._fail(fault)
            return
        await self._sleep_until(max(0, len(self._reply.deltas) - 1))
        body = json.dumps(self._reply.message(), ensure_ascii=False).encode()
        half = body[: len(body) // 2] if isinstance(fault, (Cut, CleanCut)) else body
        await self._start(b"application/json", len(half) if isinstance(fault, CleanCut) else len(body))
        if isinstance(fault, (Cut, CleanCut)):
            self._sent = len(self._reply.deltas)
            self._close("cut", fault.kind)
        await self._write(half, more=isinstance(fault, Cut))
        self._complete()

    def _tell(self, output_tokens: int) -> None:
        self._record.told = replace(self._reply.bill, output_tokens=output_tokens)

    def _complete(self) -> None:
        self._tell(self._reply.output_tokens)
        self._sent = len(self._reply.deltas)
        if isinstance(self._fault, BadToolJson):
            self._close("cut", self._fault.kind)
        else:
            self._close("completed")

    def _close(self, outcome: Outcome, error: str | None = None) -> None:
        if self._record.outcome is None:
            whole = self._sent == len(self._reply.deltas)
            self._reply.bill.output_tokens = self._reply.output_tokens if whole else self._reply.tokens_sent(self._sent)
            self._record.usage = self._reply.bill
            self._record.close(outcome, error)

    async def _start(self, content_type: bytes, length: int | None = None) -> None:
        headers = [
            *self._told,
            (b"content-type", content_type),
            (b"cache-control", b"no-cache"),
            (b"request-id", self._request_id.encode()),
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _frame(delta: Delta) -> bytes:
    if delta.frame is None:
        return delta.before + frames.stamped(delta.block, f"{time.time_ns()}|")
    return delta.before + delta.frame if delta.before else delta.frame


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def as_error(fault: Status) -> Refused:
    """The error that a scripted status is."""
    kind = fault.error_type or error_type(fault.code)
    return Refused(fault.message or f"scripted {kind}", fault.code, kind=kind, retry_after=fault.retry_after)
