"""A fetch from end to end: the URL read, the request sent, the answer shown."""

from __future__ import annotations

import json
from collections.abc import Mapping

from activities.tools.spec import ToolContext, ToolOutput
from activities.tools.web.addresses import allowed
from activities.tools.web.answer import refuse_binary, shown
from activities.tools.web.body import ENCODINGS
from activities.tools.web.exchange import Exchange, Request, Road
from activities.tools.web.urls import target

_HEADERS = {
    "user-agent": "Mozilla/5.0 (compatible; Perdure; web_fetch)",
    "accept": "text/html, application/xhtml+xml, application/json;q=0.9, text/*;q=0.9, */*;q=0.5",
    "accept-encoding": ENCODINGS,
}
OPEN_ROAD = Road()
"""The real network."""


async def fetch(
    method: str, url: str, headers: Mapping[str, str], body: str | None, context: ToolContext, road: Road = OPEN_ROAD
) -> ToolOutput:
    """Send one request and give its answer as text. `headers`: checked, by lower-case names.

    Raises ToolError: those of `Exchange.run` and of `answer`. Cancelling it closes the connection.
    """
    ours = dict(_HEADERS)
    if body is not None:
        ours["content-type"] = "application/json" if _is_json(body) else "text/plain; charset=utf-8"
    sent = tuple((ours | dict(headers)).items())
    request = Request(method, target(url), sent, None if body is None else body.encode())
    opened = allowed(context.policy.web.allowed)
    exchange = Exchange(road, opened, refuse_binary, lambda text: context.progress("stdout", text))
    return await shown(method, await exchange.run(request), context, road.bounds)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
