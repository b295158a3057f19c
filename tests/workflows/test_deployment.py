"""Who polls, and whether new sessions go to them."""

from __future__ import annotations

import time

from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import WorkerVersioningMode
from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse
from temporalio.common import VersioningBehavior

from workflows.deployment import polls, takes_new_sessions, versioned


def polled_by(*builds: str, current: str, seconds_ago: float = 0.0) -> DescribeTaskQueueResponse:
    told = DescribeTaskQueueResponse()
    told.versioning_info.current_deployment_version.build_id = current
    for build in builds:
        mode = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED if build else 0
        options = WorkerDeploymentOptions(deployment_name="perdure", build_id=build, worker_versioning_mode=mode)  # type: ignore[arg-type]  # 0 is a value of it
        one = told.pollers.add(deployment_options=options)
        one.last_access_time.seconds = int(time.time() - seconds_ago)
    return told


def test_only_workers_that_new_sessions_go_to_make_the_service_ready() -> None:
    assert takes_new_sessions(polled_by("one", "two", current="two"))
    assert not takes_new_sessions(polled_by("one", current="two"))
    assert not takes_new_sessions(polled_by("", current="two"))
    assert not takes_new_sessions(polled_by("one", current=""))
    assert takes_new_sessions(polled_by("one", "", current=""))


def test_a_worker_that_has_not_asked_for_work_for_long_counts_no_more() -> None:
    assert polls(polled_by("one", current=""), "one")
    assert not polls(polled_by("one", current="", seconds_ago=120), "one")
    assert not polls(polled_by("one", current=""), None)
    assert polls(polled_by("", current=""), None)


def test_a_worker_without_a_build_id_has_no_version() -> None:
    assert versioned("perdure", None) is None
    told = versioned("perdure", "1.2.0")
    assert told is not None and told.default_versioning_behavior == VersioningBehavior.PINNED
