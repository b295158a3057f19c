"""How an activity's failures are told to Temporal: by type and in plain words, never with content.

A failure that reaches Temporal is kept in its history and shown to operators, so causes are cut off: a database error
carries its statement's parameters, a validation error its input. The worker's log has them. Three kinds leave here:

    SessionOver, Fenced      final, quiet: somebody else went on
    StoreUnavailable         retried for as long as the session has time
    anything unforeseen      retried a few times, then final
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio import activity
from temporalio.exceptions import ApplicationError

from session.wire import FENCED, SESSION_OVER
from store import StoreUnavailable
from store.ledger import Fenced, SessionOver

HEARTBEAT_SECONDS = 1.0
UNFORESEEN_ATTEMPTS = 5


@asynccontextmanager
async def alive() -> AsyncIterator[None]:
    """Wraps an activity's body: heartbeats while it runs, and failures told as this file says. A local activity needs
    none: the workflow task that it runs in is its sign of life."""
    beating = asyncio.create_task(_beat()) if not activity.info().is_local else None
    try:
        yield
    except ApplicationError:
        raise
    except SessionOver:
        raise ApplicationError("the session is over", type=SESSION_OVER, non_retryable=True) from None
    except Fenced as error:
        raise ApplicationError(str(error), type=FENCED, non_retryable=True) from None
    except StoreUnavailable as error:
        activity.logger.warning("the store is away: %s", error)
        raise ApplicationError(str(error), type="StoreUnavailable") from None
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            raise
        raise lost() from None
    except Exception as error:
        activity.logger.exception("an activity failed")
        last = activity.info().attempt >= UNFORESEEN_ATTEMPTS
        kind = type(error).__name__
        raise ApplicationError(f"unforeseen: {kind}", type=kind, non_retryable=last) from None
    finally:
        if beating is not None:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating


def lost() -> ApplicationError:
    """This attempt was taken from its worker (shutdown, time-out, reset): another one goes on."""
    return ApplicationError("this attempt was taken from its worker", type="WorkerLost")


async def _beat() -> None:
    """Heartbeats tell Temporal that the worker lives; Temporal's own cancel comes back with them.

    The first comes after a second: most tool calls are over by then, and each heartbeat is a request.
    """
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        activity.heartbeat()
