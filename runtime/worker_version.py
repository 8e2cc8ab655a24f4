"""Temporal's worker versioning, for those who turn it on; all others run unversioned (docs/adr/0021)."""

import structlog
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import WorkerDeploymentConfig

from runtime.settings import Settings
from runtime.temporal import if_known

log = structlog.get_logger(__name__)


def deployment_of(settings: Settings) -> WorkerDeploymentConfig | None:
    """What a worker says of its version; None without the settings.

    The behaviour stands here and never in a workflow's decorator, where an unversioned worker would fail every task.
    """
    if not settings.worker_deployment:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.worker_deployment, settings.worker_build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def say_whether_it_gets_work(client: Client, version: WorkerDeploymentVersion) -> None:
    """A version that nobody made current, or ramps to, polls and gets nothing, in silence: say what to run."""
    try:
        used = await _used_builds(client, version.deployment_name)
    except RPCError as error:
        log.warning("worker versioning: the deployment cannot be described", refused=error.status.name)
        return
    if version.build_id in used:
        log.info("worker versioning: this version gets work", build_id=version.build_id)
        return
    log.warning(
        "worker versioning: this version gets no work until it is made the current one",
        run=f"temporal worker deployment set-current-version --namespace {client.namespace} "
        f"--deployment-name {version.deployment_name} --build-id {version.build_id}",
    )


async def _used_builds(client: Client, deployment: str) -> set[str]:
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
    answer = await if_known(client.workflow_service.describe_worker_deployment(request))
    if answer is None:
        return set()
    routing = answer.worker_deployment_info.routing_config
    return {routing.current_deployment_version.build_id, routing.ramping_deployment_version.build_id} - {""}
