"""Which version of the workers new sessions go to: Temporal's worker deployments, as Perdure uses them.

    PERDURE_BUILD_ID unset   workers have no version: whoever polls takes any session's next task
    set                      a session stays with the build that began it (PINNED); new ones go to the current version

A deployment has one current version, none at first: `promote` makes it one, and the version that was current before
drains until its last session has ended, which takes the sessions' limit and a few seconds at most. Sessions that were
begun by workers without a version go on with the current version as soon as there is one, and stay with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import TaskQueueType, WorkerDeploymentVersionStatus, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

logger = logging.getLogger("perdure.worker")
RPC_TIMEOUT = timedelta(seconds=5)
LOOK_TIMEOUT = timedelta(seconds=2)
POLLED_WITHIN_SECONDS: Final = 75
"""A worker that has nothing to do asks again once a minute; who has not asked for longer is gone."""

LOOK_AGAIN_SECONDS: Final = 2.0

Standing = Literal["current", "draining", "drained", "inactive"]
_STANDINGS: Final[dict[int, Standing]] = {
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: "current",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: "current",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: "drained",
}


class NotPromoted(Exception):
    """The version could not be made the current one; the message says why."""


@dataclass(frozen=True)
class Version:
    """One build of the workers, and how it stands."""

    build_id: str
    standing: Standing


@dataclass(frozen=True)
class Routing:
    """Where new sessions go: to the workers of `current`, or without one to those that have no version.

    `token` is Temporal's: a change that is made with it is refused when another came before.
    """

    current: str | None
    versions: Sequence[Version] = ()
    token: bytes = b""

    def find(self, build_id: str) -> Version | None:
        return next((version for version in self.versions if version.build_id == build_id), None)


def versioned(deployment: str, build_id: str | None) -> WorkerDeploymentConfig | None:
    """How a worker of this build registers; None for one without a version."""
    if build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


async def pollers(client: Client, task_queue: str) -> DescribeTaskQueueResponse:
    """Who polled the task queue in the last minutes, and where its sessions go. Raises RPCError."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    return await client.workflow_service.describe_task_queue(request, timeout=LOOK_TIMEOUT)


def takes_new_sessions(told: DescribeTaskQueueResponse) -> bool:
    """Whether one of those that poll is of the version that new sessions go to."""
    current = told.versioning_info.current_deployment_version.build_id
    return any(_build_of(one.deployment_options) == current for one in told.pollers)


def polls(told: DescribeTaskQueueResponse, build_id: str | None) -> bool:
    """Whether a worker of this version (None: without one) has asked for work lately."""
    since = time.time() - POLLED_WITHIN_SECONDS
    asked = [one.deployment_options for one in told.pollers if one.last_access_time.seconds > since]
    return any(_build_of(one) == (build_id or "") for one in asked)


def _build_of(options: WorkerDeploymentOptions) -> str:
    is_versioned = options.worker_versioning_mode == WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    return str(options.build_id) if is_versioned else ""


class Deployment:
    """The worker deployment of this name. Every method raises RPCError when Temporal does not answer."""

    def __init__(self, client: Client, name: str, task_queue: str) -> None:
        self._client = client
        self._name = name
        self._task_queue = task_queue

    async def routing(self) -> Routing:
        """Where new sessions go; a deployment that no worker has joined yet has no versions."""
        request = DescribeWorkerDeploymentRequest(namespace=self._client.namespace, deployment_name=self._name)
        try:
            told = await self._client.workflow_service.describe_worker_deployment(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            return Routing(None)
        about = told.worker_deployment_info
        versions = [
            Version(one.deployment_version.build_id, _STANDINGS.get(one.status, "inactive"))
            for one in about.version_summaries
        ]
        current = about.routing_config.current_deployment_version.build_id
        return Routing(current or None, versions, told.conflict_token)

    async def is_polled(self, build_id: str | None) -> bool:
        """Whether workers of this version (None: without one) ask for work."""
        return polls(await pollers(self._client, self._task_queue), build_id)

    async def promote(self, build_id: str | None, token: bytes = b"") -> str | None:
        """Give new sessions to this version (None: to workers without one). Returns the version that had them before.

        Temporal refuses, and this raises NotPromoted, for a version that no worker has registered, for one that leaves
        a task queue of the current version alone, and with a `token` that is no longer the newest.
        """
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self._name,
            build_id=build_id or "",
            conflict_token=token,
            identity="perdure promote",
        )
        service = self._client.workflow_service
        try:
            told = await service.set_worker_deployment_current_version(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
                raise
            raise NotPromoted(error.message) from error
        return told.previous_deployment_version.build_id or None

    async def sessions_of(self, build_id: str) -> int:
        """How many sessions that stay with this version still run."""
        query = f"TemporalWorkerDeploymentVersion = '{self._name}:{build_id}' AND ExecutionStatus = 'Running'"
        counted = await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)
        return counted.count

    async def take_over_if_first(self, build_id: str) -> bool | None:
        """Make this version current where no version is and nobody polls without one.

        True: done. False: the deployment has a current version. None: workers without a version take the sessions, or
        this one's are not registered yet: look again.
        """
        routing = await self.routing()
        if routing.current is not None:
            return False
        told = await pollers(self._client, self._task_queue)
        if polls(told, None) or not polls(told, build_id) or routing.find(build_id) is None:
            return None
        try:
            await self.promote(build_id, routing.token)
        except NotPromoted:
            return None
        return True


async def taken_up(deployment: Deployment, build_id: str | None) -> None:
    """See to it that new sessions go somewhere, and say so where they do not come here.

    The first version of a deployment becomes the current one by itself, so that a new cluster works without a further
    command, unless workers without a version take the sessions: then `perdure promote` says when they move on.
    """
    said = False
    while True:
        try:
            if build_id is None:
                current = (await deployment.routing()).current
                if current is not None:
                    logger.warning("new sessions go to version %s, and this worker has no PERDURE_BUILD_ID", current)
                return
            if (done := await deployment.take_over_if_first(build_id)) is not None:
                if done:
                    logger.info("version %s is the first: new sessions go to it", build_id)
                return
            if not said and await deployment.is_polled(None):
                said = True
                logger.warning("new sessions go to workers without a version until `perdure promote %s`", build_id)
        except RPCError as error:  # nothing that sessions need
            logger.info("could not look at the deployment: %s", error)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
