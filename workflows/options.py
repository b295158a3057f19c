"""Every timeout and retry policy of the session's activities, by name (DESIGN §4)."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityConfig, LocalActivityConfig

HEARTBEAT_TIMEOUT = timedelta(seconds=5)
"""A killed worker costs at most this until another attempt starts; heartbeats come every second."""

AFTER_DEADLINE = timedelta(seconds=10)
"""An activity stops itself at the deadline and still has this long to record what it did."""

PARALLEL_TOOLS = 8
"""How many tool calls of a session run at once; more wait for their turn. One that waits for an approval takes none."""

CLOSE_TIMEOUT = timedelta(seconds=30)

RETRY_AT_ONCE = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=5)
)
"""For a lost worker or a store that is away. A provider's failure brings its own delay with it."""


NOT_TAKEN = timedelta(seconds=30)
"""How long a tool call waits for a worker that has its workspace: one that is started again is back much sooner, and
where it is gone the model has time left to say so."""

LOCAL_RETRY = timedelta(seconds=1)
"""A local activity that waits longer for its next attempt waits in Temporal, so that signals get through."""


def step_options(left: timedelta, summary: str) -> ActivityConfig:
    """For `call_model`: within the session's time, noticed quickly when lost, waited for when cancelled,
    so that what was done is recorded before the session closes."""
    return ActivityConfig(
        schedule_to_close_timeout=left + AFTER_DEADLINE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=RETRY_AT_ONCE,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )


def tool_options(left: timedelta, summary: str, task_queue: str) -> ActivityConfig:
    """For a `run_tool` on the queue of the workers that have the workspace."""
    return ActivityConfig(
        **step_options(left, summary), task_queue=task_queue, schedule_to_start_timeout=min(NOT_TAKEN, left)
    )


def quick_options(left: timedelta, summary: str) -> LocalActivityConfig:
    """For a `run_tool` that is over within moments: in the worker that has the workflow task. When that worker dies,
    its task goes to another one after `TASK_TIMEOUT` at the latest."""
    return LocalActivityConfig(
        schedule_to_close_timeout=left + AFTER_DEADLINE,
        retry_policy=RETRY_AT_ONCE,
        local_retry_threshold=LOCAL_RETRY,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )


def close_options() -> LocalActivityConfig:
    """For `close_session`: tried until it is done, or the backstop ends the workflow and the reconciler does it."""
    return LocalActivityConfig(
        start_to_close_timeout=CLOSE_TIMEOUT,
        retry_policy=RETRY_AT_ONCE,
        local_retry_threshold=LOCAL_RETRY,
        summary="close",
    )


def decision_options(left: timedelta) -> ActivityConfig:
    """For `record_decision`: tried until it is done, within the session's time."""
    return ActivityConfig(
        schedule_to_close_timeout=left + AFTER_DEADLINE,
        start_to_close_timeout=CLOSE_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=RETRY_AT_ONCE,
        summary="record a decision",
    )
