"""Context compaction in a model call: what the model saw is replaced by a summary before the prompt grows too long.

The summary is a model call of its own inside the step's, with the same client, limits and cancellation; its failures
are the step's. It is recorded before the step's own request is made, so it is never bought twice; nothing of it is told
as content. What can never be had (the provider refuses the request itself) is done without: the prompt goes out as it
is, and the provider has the last word on whether it is too long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anthropic import AnthropicError
from pydantic_core import to_json

from activities.asking import counted_part, summary_request
from activities.provider_errors import is_provider_error, is_too_long, may_pass
from activities.reply import ReplyBuilder, text_of
from activities.sending import Sending
from activities.transcript import Messages, Transcript, View
from session.budget import LEAST_OUTPUT
from session.compaction import SUMMARISE, transcript_text
from session.context import (
    BYTES_PER_TOKEN,
    ContextPolicy,
    fitted,
    is_due,
    is_near,
    is_opening_due,
    summary_tokens,
    tokens_of,
)
from session.models import card
from session.prices import cost
from session.wire import StepRef
from store import Store
from store.compactions import Summary
from store.spending import day_of

Request = dict[str, Any]
_TRIES = 3
"""How often a summary is asked for of a transcript that is too long all the same, half of it each time."""


@dataclass(slots=True)
class Call:
    """One attempt of a step's model call: `builder` takes in its reply, `allowed` are the tokens that the budgets let
    it have, `request_of` makes its request (activities.asking)."""

    at: StepRef
    attempt: int
    row: Mapping[str, Any]
    builder: ReplyBuilder
    allowed: int | None
    request_of: Callable[..., Request]

    def ask(self, messages: Messages) -> Request:
        return self.request_of(self.row, messages=messages, allowed=self.allowed)

    @property
    def is_compacted(self) -> bool:
        """Whether this step begins with a summary: it gets no second one."""
        return bool(self.row["compacted_step"] == self.at.step)


class Compacting:
    """Makes the requests of model calls, compacted where that is due."""

    def __init__(self, store: Store, sending: Sending, transcript: Transcript, policy: ContextPolicy) -> None:
        self._store = store
        self._sending = sending
        self._transcript = transcript
        self._policy = policy

    async def request(self, call: Call) -> Request:
        """The step's request. Raises what a model call raises."""
        view = await self._transcript.view(call.row, call.at.step)
        request = call.ask(view.messages)
        if call.is_compacted:
            return request
        limit = self._policy.limit(card(call.row["model"]))
        prompt = await self._prompt_tokens(view, request, limit)
        is_long = prompt >= limit and is_due(prompt, tokens_of(view.replaceable), limit)
        if not is_long and not _is_opening_due(call, view, limit):
            return request
        return await self._compacted(call, view, prompt) or request

    async def shorter(self, call: Call) -> Request | None:
        """A request in the place of one that the provider found too long; None when there is nothing to leave out."""
        if call.is_compacted:
            return None
        view = await self._transcript.view(call.row, call.at.step)
        return await self._compacted(call, view, tokens_of(_size(call.ask(view.messages))))

    async def _prompt_tokens(self, view: View, request: Request, limit: int) -> int:
        """How long the prompt is: as the last call was counted, and what came since; else as it is estimated."""
        if view.counted:
            return view.counted + tokens_of(view.since)
        estimate = tokens_of(_size(request))
        if not (is_near(estimate, limit) and view.replaceable):
            return estimate
        try:
            return (await self._sending.client.messages.count_tokens(**counted_part(request))).input_tokens
        except AnthropicError:
            return estimate

    async def _compacted(self, call: Call, view: View, prompt: int) -> Request | None:
        told = await self._transcript.before(call.row, call.at.step, view)
        if not told or (call.allowed is not None and call.allowed < prompt + LEAST_OUTPUT):
            return None  # nothing to leave out, or the budgets could not pay for a summary, which is told all of it
        summary = await self._summary(call, told, prompt)
        if summary is None:
            return None
        left = await self._store.compactions.record(call.at, call.attempt, summary)
        call.allowed = left if left is None else max(left, LEAST_OUTPUT)
        call.row = {**call.row, "compacted_step": call.at.step}
        return call.ask((await self._transcript.view(call.row, call.at.step)).messages)

    async def _summary(self, call: Call, told: list[str], prompt: int) -> Summary | None:
        """A summary of these texts; None when the provider refuses to be asked for it."""
        known = card(call.row["model"])
        size = max(0, self._policy.room(known) - tokens_of(len(SUMMARISE))) * BYTES_PER_TOKEN
        for _ in range(_TRIES):
            try:
                return await self._bought(call, fitted(told, size), prompt)
            except Exception as error:
                if not is_provider_error(error) or may_pass(error):
                    raise
                if not is_too_long(error):
                    break
            size //= 2
        return None

    async def _bought(self, call: Call, told: list[str], prompt: int) -> Summary:
        model: str = call.row["model"]
        most = summary_tokens(self._policy.limit(card(model)))
        builder = ReplyBuilder()
        try:
            request = summary_request(call.row, transcript_text(told), most, call.allowed)
            await self._sending.reply(request, call.at.deadline_ms, builder, lambda _: None)
            text = text_of(builder.blocks()).strip()
        except BaseException:
            call.builder.usage = builder.usage  # paid for, whatever comes of the step
            raise
        # A model that writes nothing leaves the beginnings and ends of what there was.
        text = text or "\n\n".join(fitted(told, most * BYTES_PER_TOKEN))
        return Summary(
            text, model, builder.usage, cost(model, builder.usage, day_of(self._store.database.clock())), prompt
        )


def _is_opening_due(call: Call, view: View, limit: int) -> bool:
    """Before the first step: whether earlier messages are too long, as it was judged when the session was created."""
    if call.at.step > 1:
        return False
    was_found = call.row["compacted_step"] == 0 and not view.begins_with_summary
    return was_found or is_opening_due(view.opening_bytes, limit)


def _size(request: Request) -> int:
    return len(to_json(counted_part(request)))
