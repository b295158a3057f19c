"""From a failed model call to what happens next: the only place that knows the provider's errors (DESIGN §4).

    retry-after header           wait that long                     429, 529, 503 …
    408 409 429 5xx 529          back off and try again
    connection, timeout, cut     back off and try again
    other 4xx                    final: the request itself is refused, trying again would change nothing

A model that does not answer in BEFORE_FALLBACK attempts, or that is not there (404), may be answered for by another.
A wait that would pass the session's deadline, or the last of MAX_ATTEMPTS, is final too. Messages carry the provider's
own words, masked, since those may repeat the key that was sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import anthropic
import httpx2

from activities.limiter import NoTurn
from activities.pacing import retry_after
from session.masking import Masker

MAX_ATTEMPTS = 8
BEFORE_FALLBACK = 3
"""Attempts that a model has before another one is asked, where there is one."""
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20.0
_BY_FORM = Masker()
_RETRIED_STATUS = frozenset({408, 409, 429, 529})
_RETRIED_TYPES = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})


class Cut(Exception):
    """The stream ended before `message_stop`, or a tool's input was not whole JSON: the reply does not count."""


class NoKey(Exception):
    """There is no key to call the provider with; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Posture:
    """What to do about a failed attempt. `retryable`: the client may hope for more by trying the session again.
    `elsewhere`: another model may do what this one does not."""

    final: bool
    retryable: bool
    reason: str
    delay_seconds: float = 0.0
    elsewhere: bool = False


def posture(error: Exception, attempt: int, seconds_left: float, masker: Masker = _BY_FORM) -> Posture:
    """Judge a failure of the model's attempt `attempt` (1…) with `seconds_left` until the session's deadline."""
    reason = describe(error, masker)
    if not may_pass(error):
        return Posture(final=True, retryable=False, reason=reason, elsewhere=_is_no_model(error))
    delay = _told_wait(error)
    if delay is None:
        delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (attempt - 1)) * random.uniform(0.8, 1.2)
    if attempt >= MAX_ATTEMPTS:
        return Posture(final=True, retryable=True, reason=f"{reason} (after {attempt} attempts)", elsewhere=True)
    if delay >= seconds_left:
        said = f"{reason} (the next attempt would be in {delay:.0f} s, later than the session's limit)"
        return Posture(final=True, retryable=True, reason=said, elsewhere=True)
    elsewhere = attempt >= BEFORE_FALLBACK
    return Posture(final=False, retryable=True, reason=reason, delay_seconds=delay, elsewhere=elsewhere)


def is_provider_error(error: Exception) -> bool:
    """True for failures of the model call; anything else is a failure of our own."""
    return isinstance(error, (anthropic.AnthropicError, httpx2.HTTPError, Cut, NoKey, NoTurn))


def is_too_long(error: Exception) -> bool:
    """True when the provider refused a prompt because the model's window, or a request, cannot hold it."""
    if not isinstance(error, anthropic.APIStatusError) or error.status_code not in (400, 413):
        return False
    said = (error.api_message or error.message).lower()
    return error.status_code == 413 or "prompt is too long" in said or "exceed context limit" in said


def describe(error: Exception, masker: Masker = _BY_FORM) -> str:
    """One sentence for people, masked, with the provider's own message where there is one."""
    if isinstance(error, Cut):
        return f"the model's reply was cut off: {error}"
    if isinstance(error, NoTurn):
        return "the provider's rate limit leaves this call no turn"
    if isinstance(error, NoKey):
        return "no key is configured for the model's provider: set ANTHROPIC_API_KEY for the worker"
    if isinstance(error, anthropic.APIStatusError):
        said = error.api_message or error.message
        return masker.mask(f"{error.type or error.status_code}: {said}")[:500]  # half a secret would not be known
    if isinstance(error, (anthropic.APITimeoutError, httpx2.TimeoutException)):
        return "the model's provider did not answer in time"
    if isinstance(error, (anthropic.APIConnectionError, httpx2.HTTPError)):
        return "the connection to the model's provider failed"
    return masker.mask(f"the model could not be called: {error}")[:500]


def may_pass(error: Exception) -> bool:
    """True when asking again may bring more than this failure did."""
    if isinstance(error, anthropic.APIStatusError):
        if error.status_code == 200:  # an `error` event inside a stream that had begun well
            return error.type in _RETRIED_TYPES
        return error.status_code in _RETRIED_STATUS or error.status_code >= 500
    return isinstance(error, (anthropic.APIConnectionError, httpx2.HTTPError, Cut, NoTurn))


def _is_no_model(error: Exception) -> bool:
    return isinstance(error, anthropic.NotFoundError)


def _told_wait(error: Exception) -> float | None:
    """Seconds to wait, where the provider or its limits say so."""
    if isinstance(error, NoTurn):
        return error.seconds
    return retry_after(error.response.headers) if isinstance(error, anthropic.APIStatusError) else None
