"""A search from end to end. The provider's address is the operator's, so it may be anywhere; what it says is bounded
and never shown as it is, since an error of a provider may repeat the key."""

from __future__ import annotations

import json

from activities.tools.spec import ToolError, ToolOutput
from activities.tools.web.addresses import Allowed
from activities.tools.web.exchange import Bounds, Exchange, Reply, Road
from activities.tools.web.providers import PROVIDERS, Hit
from session.policy import SearchPolicy

OPERATORS_ROAD = Road(bounds=Bounds(size=2 << 20, redirects=0, silence_seconds=15.0, total_seconds=20.0))
_TOLD = frozenset({"DNS_FAILED", "TIMEOUT", "UNREACHABLE"})
"""Errors whose messages name the host and nothing else of the address, which may have a key in it."""


async def search(query: str, count: int, policy: SearchPolicy, road: Road = OPERATORS_ROAD) -> ToolOutput:
    """Ask the provider and list what it found, at most `count`.

    Raises ToolError SEARCH_REFUSED (the key or the format), RATE_LIMITED, SEARCH_FAILED, TIMEOUT, UNREACHABLE,
    DNS_FAILED. The key is in none of them.
    """
    provider = PROVIDERS[policy.provider]
    try:
        request = provider.ask(provider.endpoint(policy.url), policy.key, query, count)
        opened = Allowed(names=frozenset({request.target.host}))
        reply = await Exchange(road, opened, lambda _head: None, lambda _text: None).run(request)
    except ToolError as error:
        if error.code in _TOLD:
            raise ToolError(error.code, f"{policy.provider} could not be asked: {error.message}") from None
        raise _failed(policy, f"it cannot be used as it is set up ({error.code})") from None
    except UnicodeEncodeError:  # where the key is no header
        raise _failed(policy, "PERDURE_SEARCH_KEY has characters that no key has") from None
    _refuse_errors(reply, policy)
    try:
        hits = list(provider.hits(json.loads(reply.body)))[:count]
    except (ValueError, AttributeError, RecursionError):
        raise _failed(policy, "its answer is not what it should be") from None
    return ToolOutput("\n\n".join(_shown(number, hit) for number, hit in enumerate(hits, 1)) or "[nothing was found]")


def _refuse_errors(reply: Reply, policy: SearchPolicy) -> None:
    status, name = reply.head.status, policy.provider
    if reply.ended != "whole":
        raise _failed(policy, f"its answer is not whole ({reply.ended})")
    if status in (401, 403) and name == "searxng":
        told = "searxng refused: its settings must have json among search.formats, and its gateway must take the key"
        raise ToolError("SEARCH_REFUSED", f"{told}; the operator has to mend that")
    if status in (401, 403):
        raise ToolError("SEARCH_REFUSED", f"{name} refused the key; the operator has to mend PERDURE_SEARCH_KEY")
    if status in (402, 429, 432, 433):  # the latter two are Tavily's, for limits of a plan
        wait = reply.head.headers.get("retry-after", "")
        later = f"in {wait} s" if wait.isdecimal() else "later"
        raise ToolError("RATE_LIMITED", f"{name} takes no more searches for now; try {later}, or go on without")
    if status != 200:
        raise _failed(policy, f"it answered {status}")


def _failed(policy: SearchPolicy, why: str) -> ToolError:
    return ToolError("SEARCH_FAILED", f"the search by {policy.provider} failed: {why}")


def _shown(number: int, hit: Hit) -> str:
    lines = [f"{number}. {hit.title}", f"   {hit.url}"]
    return "\n".join([*lines, f"   {hit.snippet}"] if hit.snippet else lines)
