"""How the steps of a session can end otherwise than by themselves: what a failed activity means, and waiting for a task
that must not be left alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from session.wire import FENCED, PROVIDER_ERROR, SESSION_OVER, Ending


class SomebodyElseWentOn(Exception):
    """The session is over or a newer run owns it: this run has nothing to close."""


async def shielded(task: asyncio.Task[Any]) -> None:
    """Wait for the task's end. Temporal's own cancel may still come while the session ends for another reason: then it
    changes nothing, as a second cancel through us does."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await workflow.wait([task])


def ending_of(error: ActivityError) -> Ending:
    """Why the session ends when this activity failed for good. Raises SomebodyElseWentOn, CancelledError."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        if cause.type in (SESSION_OVER, FENCED):
            raise SomebodyElseWentOn from error
        if cause.type == PROVIDER_ERROR:
            return Ending("providerError", retryable=bool(cause.details and cause.details[0]))
        return Ending("internalError", f"A step failed: {cause.type}.", retryable=True)
    if isinstance(cause, CancelledError):
        raise asyncio.CancelledError from error
    return Ending("internalError", "A step could not be finished: its worker was lost too often.", retryable=True)
