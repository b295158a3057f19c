"""Beginning a session: check what only the server knows, store it, start its workflow (DESIGN §3.1).

A crash or a Temporal that is away after the store's commit leaves the session `created`: the same Idempotency-Key or
the reconciler starts it, and at its deadline it fails.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from activities.catalog import Catalog
from activities.launching import mark_started
from activities.tools import TOOLS
from api.parts import Parts
from api.problems import Problem, invalid
from api.temporal import TemporalAway
from session.fallbacks import in_order
from session.models import card
from session.patterns import is_pattern, names, tool_name
from session.prices import price_of
from session.start import StartFields
from session.tooling import Tool
from session.wire import CancelRequest
from store.spending import day_of
from store.starting import Caller as Starter
from store.starting import Started

logger = logging.getLogger("perdure.api")
_VISIBLE = re.compile(r"^[\x21-\x7e]{1,255}$")


def idempotency_key(
    key: Annotated[str | None, Header(alias="Idempotency-Key", description="1 to 255 visible characters")] = None,
) -> str | None:
    """The header, if it was sent. Raises Problem 400 when it is not of its form."""
    if key is not None and not _VISIBLE.match(key):
        raise Problem(400, "BAD_IDEMPOTENCY_KEY", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return key


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def starter(request: Request, tenant: str, key: str | None, body: dict[str, Any]) -> Starter:
    """Who starts, and the hash by which the same request is known: method, path and body."""
    same = json.dumps([request.method, request.url.path, body], sort_keys=True, separators=(",", ":"))
    return Starter(tenant, key, hashlib.sha256(same.encode()).hexdigest())


async def begin(parts: Parts, fields: StartFields, caller: Starter, conversation_id: str | None) -> Started:
    """Store and start a session. Raises Problem 422, NotFound, Conflict, KeyReused, QueueFull,
    StoreUnavailable, TemporalAway."""
    model = fields.model or parts.settings.model
    check(fields, model, parts.store.database.clock())
    fields = with_fallback(parts, fields, model)
    await check_tools(parts, fields)
    if fields.response_schema is not None and (fault := await parts.validators.fault_of_schema(fields.response_schema)):
        raise invalid("responseSchema", fault)
    started = await parts.store.starting.start(fields, model, caller, conversation_id)
    if started.interrupted is not None:
        await _interrupt(parts, started.interrupted, caller.tenant or "local")
    return await launch(parts, started)


async def _interrupt(parts: Parts, session_id: str, by: str) -> None:
    """Tell a session that it was asked to end, which is stored; where Temporal is away the reconciler does."""
    parts.store.bus.hint_cancel(session_id, "now")
    try:
        await parts.temporal.cancel(session_id, CancelRequest("now", "", by))
    except TemporalAway as error:
        logger.warning("%s was not told that it is interrupted, the reconciler will: %s", session_id, error)


async def launch(parts: Parts, started: Started) -> Started:
    """Start the workflow of a stored session that has none yet; its first step begins when it is admitted. One that
    waits for its turn in its conversation has none until that comes.

    Raises TemporalAway.
    """
    row = started.row
    if row["status"] != "created" or row["waits_since_ms"] is not None:
        return started
    await parts.temporal.start(row, row["deadline_ms"] - parts.store.database.clock())
    return Started(await mark_started(parts.store, parts.temporal.client, row), started.is_new)


def check(fields: StartFields, model: str, now_ms: int) -> None:
    """Refuse what the model or this server cannot do. Raises Problem 422 naming the field."""
    known = card(model)
    if fields.temperature is not None:
        if not known.takes_temperature:
            raise invalid("temperature", f"{model} takes no temperature; leave it out or choose another model")
        if fields.temperature > 1:
            raise invalid("temperature", "must be between 0 and 1 for this provider")
    if fields.max_cost_usd is not None and price_of(model, day_of(now_ms)) is None:
        raise invalid("maxCostUsd", f"the price of {model} is not known, so it could not be kept; use maxBudget")


def with_fallback(parts: Parts, fields: StartFields, model: str) -> StartFields:
    """The fields with the models to fall back to: those asked for, or the server's own as far as their prices are known
    where money is limited. Raises Problem 422."""
    day = day_of(parts.store.database.clock())
    asked = parts.settings.fallback_models if fields.fallback is None else fields.fallback
    fallback = in_order(model, asked)
    if fields.max_cost_usd is not None:
        priced = [one for one in fallback if price_of(one, day) is not None]
        if fields.fallback is not None and priced != fallback:
            unknown = next(one for one in fallback if one not in priced)
            raise invalid("fallback", f"the price of {unknown} is not known, so maxCostUsd could not be kept")
        fallback = priced
    return fields.model_copy(update={"fallback": fallback})


async def offered(parts: Parts) -> list[Tool]:
    """The tools that sessions are offered: what the worker told that published last, or the built-in ones."""
    return await parts.store.toolsets.latest() or Catalog(parts.settings.tool_policy).tools()


async def check_tools(parts: Parts, fields: StartFields) -> None:
    """Refuse patterns that name no tool. Raises Problem 422."""
    patterns = fields.allowed_tools or ()
    for pattern in patterns:
        if not is_pattern(pattern):
            raise invalid("allowedTools", f"{pattern[:100]!r} is no pattern; write a tool's name, or exec(git *)")
    if not patterns:
        return
    known = {tool.name for tool in await offered(parts)} | set(TOOLS)
    unknown = sorted({tool_name(one) for one in patterns if not any(names(one, name) for name in known)})
    if unknown:
        raise invalid("allowedTools", f"there is no tool {', '.join(unknown)}; GET /api/chat/tools lists them")
