"""The end of a session, recorded once (DESIGN §3.5). Trying again after a crash changes nothing that was written."""

from __future__ import annotations

from temporalio import activity

from activities.admitting import admit_next
from activities.failures import alive
from activities.launching import Successors
from activities.tools.jobs import Jobs
from activities.transcript import Transcript
from session.vocabulary import StopReason
from session.wire import CLOSE_SESSION, CloseRequest
from store import Store


class Closings:
    """The `close_session` activity."""

    def __init__(self, store: Store, transcript: Transcript, jobs: Jobs, successors: Successors) -> None:
        self._store = store
        self._successors = successors
        self._transcript = transcript
        self._jobs = jobs

    @activity.defn(name=CLOSE_SESSION)
    async def close_session(self, request: CloseRequest) -> StopReason:
        """Close the session for the reason given; returns the reason that counts, which is an earlier one's when the
        session was closed before."""
        async with alive():
            await self._jobs.end_session(request.session_id)
            reason = request.ending.reason
            if not await self._store.endings.close(request.session_id, request.ending):
                reason = (await self._store.sessions.row(request.session_id))["stop_reason"]
            await self._successors.begin(activity.client(), request.session_id, activity.info().task_queue)
            await admit_next(self._store, activity.client())
        self._transcript.forget(request.session_id)
        return reason
