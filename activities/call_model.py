"""The model call: one step's reply, streamed, recorded once, told to the workflow as a small value (DESIGN §3.3).

A crash before the reply is recorded loses it: the next attempt buys it again and readers are told (`step:retry`). After
it is recorded, every later attempt returns it (G3). Provider failures follow activities.provider_errors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

from anthropic import AsyncAnthropic
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.asking import model_request
from activities.compacting import Call, Compacting
from activities.failures import alive
from activities.judging import Judging, Offers, rules_of
from activities.prompts import Prompts
from activities.provider_errors import NoKey, is_provider_error, is_too_long, posture
from activities.reply import Fragment, ReplyBuilder, text_of, thinking_of
from activities.results import schema_of
from activities.sending import Sending
from activities.stopping import Stopped, until_stopped
from activities.surroundings import Surroundings
from activities.transcript import Transcript
from session.events import ContentDelta, ThinkingUpdate
from session.live import model_scope
from session.prices import cost
from session.prompt import SystemPrompt
from session.wire import CALL_MODEL, PROVIDER_ERROR, ModelReply, StepRef
from store import Store
from store.ledger import Fenced, SessionOver
from store.replies import NewCall, Reply
from store.spending import day_of
from store.steps import Begun, Spent

AT_ONCE = timedelta(milliseconds=1)
"""None at all would be taken for the retry policy's."""
_FAILED = "the model call failed; the session's events say why"


class ModelCalls:
    """The `call_model` activity over one client of the provider."""

    def __init__(
        self, store: Store, client: AsyncAnthropic, transcript: Transcript, offers: Offers, around: Surroundings
    ) -> None:
        self._store = store
        self._sending = Sending(client, around.limiter)
        self._compacting = Compacting(store, self._sending, transcript, around.context)
        self._offers = offers
        self._prompts = Prompts(store, around)
        self._masker = around.masker
        self._home = around.home
        self._validators = around.validators

    @activity.defn(name=CALL_MODEL)
    async def call_model(self, at: StepRef) -> ModelReply:
        """Make step `at.step`'s model call, unless its reply is recorded already."""
        attempt = activity.info().attempt
        async with alive():
            begun = await self._store.steps.begin(at, attempt, await self._offers.current(), self._home)
            if begun.recorded is not None:
                return begun.recorded
            return await self._make_call(at, attempt, begun)

    async def _make_call(self, at: StepRef, attempt: int, begun: Begun) -> ModelReply:
        row, day = begun.row, day_of(self._store.database.clock())
        live = _Live(self._store, at, attempt, shown=row["show_thinking"])
        builder = ReplyBuilder()
        tools = await self._offers.of(row)
        prompt = await self._prompts.of(row, at.step, agent=bool(tools))
        call = Call(
            at, attempt, row, builder, begun.allowed, partial(model_request, tools=tools.values(), system=prompt)
        )
        try:
            await until_stopped(self._stream(call, live), at, self._store.bus)
            blocks = builder.blocks()
        except Stopped:
            reply = _reply(row["model"], day, prompt, builder, builder.partial_blocks())
            await self._store.steps.record_partial(at, attempt, reply)
            return ModelReply(reply.usage, reply.cost, interrupted=True)
        except Exception as error:
            if not is_provider_error(error):
                raise
            spent = Spent(builder.usage, cost(row["model"], builder.usage, day))
            raise await self._failure(at, attempt, begun, error, spent) from None
        rules = await rules_of(row, self._store)
        judging = Judging(rules, tools, self._offers.catalog, self._masker, builder.cut, builder.deep)
        called = [block for block in blocks if block["type"] == "tool_use"]
        calls = [judging.call(block["id"], block["name"], block["input"]) for block in called]
        reply = _reply(row["model"], day, prompt, builder, blocks, calls)
        schema = schema_of(row)
        if schema is not None and not calls:
            reply = replace(reply, answer=await self._validators.of_reply(schema, reply.text, self._masker))
        return await self._store.steps.record_reply(at, attempt, reply)

    async def _stream(self, call: Call, live: _Live) -> None:
        if not self._sending.client.api_key:
            raise NoKey
        request = await self._compacting.request(call)
        try:
            await self._sending.reply(request, call.at.deadline_ms, call.builder, live.tell)
        except Exception as error:
            shorter = await self._compacting.shorter(call) if is_too_long(error) else None
            if shorter is None:
                raise
            await self._sending.reply(shorter, call.at.deadline_ms, call.builder, live.tell)
        finally:
            await live.settle()

    async def _failure(
        self, at: StepRef, attempt: int, begun: Begun, error: Exception, spent: Spent
    ) -> ApplicationError:
        """The error to raise; a coming retry, perhaps by another model, is announced first, so that readers drop the
        deltas of this attempt."""
        verdict = posture(error, begun.tries, at.deadline_ms / 1000 - time.time(), self._masker)
        to = begun.next_model if verdict.elsewhere else None
        if to is not None:
            await self._store.steps.announce_retry(at, attempt, verdict.reason, 0, spent, to)
            return ApplicationError(_FAILED, type=PROVIDER_ERROR, next_retry_delay=AT_ONCE)
        if verdict.final:
            await self._store.steps.note_failure(at, attempt, verdict.reason, spent)
            return ApplicationError(_FAILED, verdict.retryable, type=PROVIDER_ERROR, non_retryable=True)
        wait = timedelta(seconds=verdict.delay_seconds)
        wait_ms = round(verdict.delay_seconds * 1000)
        await self._store.steps.announce_retry(at, attempt, verdict.reason, wait_ms, spent)
        return ApplicationError(_FAILED, type=PROVIDER_ERROR, next_retry_delay=wait)


class _Live:
    """Tells fragments as they come; what the network brought together is told together. Where a reply reasons, all of
    it waits until the fact `thinking:start` is committed, so that a reply which arrives faster than the store commits
    keeps its order."""

    def __init__(self, store: Store, at: StepRef, attempt: int, *, shown: bool) -> None:
        self._store = store
        self._at = at
        self._attempt = attempt
        self._shown = shown
        self._opening: asyncio.Task[None] | None = None
        self._waiting: list[Fragment] = []
        self._due = False

    def tell(self, fragment: Fragment) -> None:
        kind, text = fragment
        if kind == "thinking":
            if not (self._shown and text):
                return
            if self._opening is None:
                self._opening = asyncio.create_task(self._open())
        if self._waiting and self._waiting[-1][0] == kind:
            self._waiting[-1] = (kind, self._waiting[-1][1] + text)
        else:
            self._waiting.append(fragment)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._say)

    def _say(self) -> None:
        self._due = False
        if self._opening is not None and not self._opening.done():
            return
        for kind, text in self._waiting:
            event = (ThinkingUpdate if kind == "thinking" else ContentDelta)(step=self._at.step, delta=text)
            frame = event.frame(time.time_ns() // 1_000_000)
            self._store.bus.publish_delta(self._at.session_id, model_scope(self._at.step), self._attempt, frame)
        self._waiting.clear()

    async def _open(self) -> None:
        await self._store.steps.start_thinking(self._at, self._attempt)
        asyncio.get_running_loop().call_soon(self._say)

    async def settle(self) -> None:
        """Wait for what is still being written, and tell the rest. A fenced attempt learns it when it records."""
        if self._opening is not None:
            with suppress(SessionOver, Fenced):
                await self._opening
        self._say()


def _reply(
    model: str,
    day: date,
    prompt: SystemPrompt,
    builder: ReplyBuilder,
    blocks: list[dict[str, Any]],
    calls: Sequence[NewCall] = (),
) -> Reply:
    return Reply(
        model=model,
        blocks=blocks,
        usage=builder.usage,
        cost=cost(model, builder.usage, day),
        stop_reason=builder.stop_reason,
        request_id=builder.request_id,
        thinking=thinking_of(blocks),
        text=text_of(blocks),
        calls=calls,
        prompt=prompt,
    )
