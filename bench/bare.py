"""The bare loop: the provider's SDK and the same tools in a `while`, with nothing kept, recovered, told or limited."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from activities.client import Provider, provider_client
from activities.reply import ReplyBuilder
from activities.streaming import events_of
from activities.tools import TOOLS, ToolContext, call
from session.prompt import AGENT
from session.vocabulary import COMPLETE_TASK
from settings import DEFAULT_MODEL

_runs = itertools.count(1)


def _unheard(text: str) -> None: ...


@dataclass(frozen=True)
class BareLoop:
    """What a developer writes in the first hour. Runs in the process of its caller, whose CPU time is its cost."""

    client: Provider
    context: ToolContext
    tools: list[dict[str, Any]]

    async def run(self, content: str, hear: Callable[[str], None] = _unheard) -> int:
        """Play a user's message to its end, telling every text delta; return the number of steps."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        name = f"bare-{next(_runs)}"
        for step in itertools.count(1):
            blocks = await self._reply(messages, name, hear)
            messages.append({"role": "assistant", "content": blocks})
            calls = [block for block in blocks if block["type"] == "tool_use"]
            messages.append({"role": "user", "content": await asyncio.gather(*map(self._result, calls))})
            if not calls or calls[-1]["name"] == COMPLETE_TASK:
                return step
        raise AssertionError

    async def _reply(
        self, messages: list[dict[str, Any]], name: str, hear: Callable[[str], None]
    ) -> list[dict[str, Any]]:
        builder = ReplyBuilder()
        request: dict[str, Any] = {
            "model": DEFAULT_MODEL,
            "max_tokens": 32_000,
            "system": AGENT,
            "tools": self.tools,
            "messages": messages,
            "metadata": {"user_id": name},
        }
        async with self.client.messages.with_streaming_response.create(**request, stream=True) as answer:
            async for event in events_of(answer.http_response):
                fragment = builder.feed(event)
                if fragment is not None:
                    hear(fragment[1])
        return builder.blocks()

    async def _result(self, block: dict[str, Any]) -> dict[str, Any]:
        output = await call(TOOLS[block["name"]], block["input"], self.context)
        return {"type": "tool_result", "tool_use_id": block["id"], "content": output.content}


@asynccontextmanager
async def bare_loop(model_url: str, workspace: Path) -> AsyncIterator[BareLoop]:
    """The loop over a client of its own, made as the worker's."""
    tools = [
        {"name": spec.name, "description": spec.description, "input_schema": spec.input_schema()}
        for spec in TOOLS.values()
    ]
    async with provider_client(SecretStr("bench"), model_url) as client:
        yield BareLoop(client, ToolContext(workspace=workspace), tools)
