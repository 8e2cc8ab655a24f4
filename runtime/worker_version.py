"""Temporal's worker versioning, for those who turn it on; all others run unversioned (docs/adr/0021)."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import TypeAlias

import structlog
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as DeploymentVersion
from temporalio.api.enums.v1 import WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueVersioningInfo
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import WorkerDeploymentConfig

from api.engine import if_known
from runtime.settings import Settings

Version: TypeAlias = tuple[str, str]
"""Name of a deployment, and a build of it."""
UNVERSIONED: Version = ("", "")
VERSIONED = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED

DISTRIBUTION, NAME = "authpipe-server", "unversioned"

log = structlog.get_logger(__name__)


def deployment_of(settings: Settings) -> WorkerDeploymentConfig:
    """What a worker says of its version. Without the settings it is unversioned, and the engine routes nothing by it.

    The behaviour stands here and never in a workflow's decorator, where an unversioned worker would fail every task.
    """
    if not settings.worker_deployment:
        # Else the SDK reads all loaded code at each start, and its digest stands in each event of a history.
        ours = WorkerDeploymentVersion(NAME, version(DISTRIBUTION))
        return WorkerDeploymentConfig(version=ours, use_worker_versioning=False)
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.worker_deployment, settings.worker_build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def say_whether_it_gets_work(client: Client, ours: WorkerDeploymentVersion) -> None:
    """A version that nobody made current, or ramps to, polls and gets nothing, in silence: say what to run."""
    try:
        used = await _used_builds(client, ours.deployment_name)
    except RPCError as error:
        log.warning("worker versioning: the deployment cannot be described", refused=error.status.name)
        return
    if ours.build_id in used:
        log.info("worker versioning: this version gets work", build_id=ours.build_id)
        return
    log.warning(
        "worker versioning: this version gets no work until it is made the current one",
        run=making_current(client.namespace, (ours.deployment_name, ours.build_id)),
    )


def making_current(namespace: str, wanted: Version, instead_of: Version = UNVERSIONED) -> str:
    """The command line by which a version gets the tasks; where it is none, of the deployment that has them now."""
    command = f"temporal worker deployment set-current-version --namespace {namespace} --deployment-name"
    if wanted == UNVERSIONED:
        return f"{command} {instead_of[0]} --unversioned"
    return f"{command} {wanted[0]} --build-id {wanted[1]}"


def told(versions: Iterable[Version]) -> str:
    """In words."""
    return " and ".join(
        "no version" if one == UNVERSIONED else f"version {one[1]} of deployment {one[0]!r}" for one in sorted(versions)
    )


def used_versions(routing: TaskQueueVersioningInfo) -> set[Version]:
    """Those a queue's tasks go to: the current one, and the one that a share is ramped to."""
    used = {_named(routing.current_deployment_version)}
    return used | {_named(routing.ramping_deployment_version)} if routing.ramping_version_percentage else used


def versions_of(pollers: Iterable[PollerInfo]) -> set[Version]:
    """Those of the workers that ask."""
    return {
        _named(options) if options.worker_versioning_mode == VERSIONED else UNVERSIONED
        for options in (poller.deployment_options for poller in pollers)
    }


def _named(which: DeploymentVersion | WorkerDeploymentOptions) -> Version:
    return which.deployment_name, which.build_id


async def _used_builds(client: Client, deployment: str) -> set[str]:
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
    answer = await if_known(client.workflow_service.describe_worker_deployment(request))
    if answer is None:
        return set()
    routing = answer.worker_deployment_info.routing_config
    return {routing.current_deployment_version.build_id, routing.ramping_deployment_version.build_id} - {""}
