"""Worker versioning is off unless it is turned on, and a version without work says so."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from temporalio.api.deployment.v1 import WorkerDeploymentInfo, WorkerDeploymentOptions
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as Version
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueVersioningInfo
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentResponse
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

from runtime.errors import SettingsError
from runtime.settings import Settings
from runtime.worker_version import (
    UNVERSIONED,
    deployment_of,
    making_current,
    say_whether_it_gets_work,
    used_versions,
    versions_of,
)

OURS = WorkerDeploymentVersion("authpipe", "2")


def test_it_is_off_by_default(settings_with: Callable[..., Settings]) -> None:
    told = deployment_of(settings_with())
    assert not told.use_worker_versioning
    assert told.version == WorkerDeploymentVersion("unversioned", "0.1.0")


def test_turned_on_a_life_moves_on_with_its_next_task(settings_with: Callable[..., Settings]) -> None:
    told = deployment_of(settings_with(worker_deployment="authpipe", worker_build_id="2.1+abc"))
    assert told.version == WorkerDeploymentVersion("authpipe", "2.1+abc")
    assert told.use_worker_versioning
    assert told.default_versioning_behavior is VersioningBehavior.AUTO_UPGRADE


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"worker_deployment": "authpipe"}, "AUTHPIPE_WORKER_DEPLOYMENT: goes together with AUTHPIPE_WORKER_BUILD_ID"),
        ({"worker_build_id": "2"}, "AUTHPIPE_WORKER_DEPLOYMENT: goes together with AUTHPIPE_WORKER_BUILD_ID"),
        ({"worker_deployment": "a.b", "worker_build_id": "2"}, "AUTHPIPE_WORKER_DEPLOYMENT: "),
        ({"worker_deployment": "a", "worker_build_id": "2 3"}, "AUTHPIPE_WORKER_BUILD_ID: "),
    ],
)
def test_half_of_it_or_a_name_that_the_engine_refuses_is_refused_at_start(
    settings_with: Callable[..., Settings], given: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_with(**given)
    assert str(caught.value).startswith(said)


def test_unversioned_workers_before_a_current_version_are_given_the_work_by_another_command() -> None:
    routing = TaskQueueVersioningInfo(current_deployment_version=Version(deployment_name="ours", build_id="2"))
    plain = PollerInfo(deployment_options=WorkerDeploymentOptions(deployment_name="unversioned", build_id="0.1.0"))
    used, asking = used_versions(routing), versions_of([plain])
    assert (used, asking) == ({("ours", "2")}, {UNVERSIONED})
    assert making_current("default", *asking, *used).endswith("--deployment-name ours --unversioned")


def test_a_version_that_a_share_is_ramped_to_is_used_beside_the_current_one() -> None:
    ramping = Version(deployment_name="ours", build_id="2")
    assert used_versions(TaskQueueVersioningInfo(ramping_deployment_version=ramping)) == {UNVERSIONED}
    ramped = TaskQueueVersioningInfo(ramping_deployment_version=ramping, ramping_version_percentage=10)
    assert used_versions(ramped) == {UNVERSIONED, ("ours", "2")}


class Engine:
    """Answers for the deployment, in place of a client."""

    namespace = "default"

    def __init__(self, answer: DescribeWorkerDeploymentResponse | RPCStatusCode) -> None:
        self._answer = answer
        self.workflow_service = self

    async def describe_worker_deployment(self, request: Any) -> DescribeWorkerDeploymentResponse:
        assert request.deployment_name == OURS.deployment_name
        if isinstance(self._answer, RPCStatusCode):
            raise RPCError("no", self._answer, b"")
        return self._answer


def routed(current: str = "", ramping: str = "") -> DescribeWorkerDeploymentResponse:
    answer = DescribeWorkerDeploymentResponse(worker_deployment_info=WorkerDeploymentInfo())
    routing = answer.worker_deployment_info.routing_config
    routing.current_deployment_version.CopyFrom(Version(build_id=current))
    routing.ramping_deployment_version.CopyFrom(Version(build_id=ramping))
    return answer


NO_WORK = "worker versioning: this version gets no work until it is made the current one"
WORK = "worker versioning: this version gets work"
UNSEEN = "worker versioning: the deployment cannot be described"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RPCStatusCode.NOT_FOUND, NO_WORK),
        (routed(), NO_WORK),
        (routed(current="1"), NO_WORK),
        (routed(current="2"), WORK),
        (routed(current="1", ramping="2"), WORK),
        (RPCStatusCode.PERMISSION_DENIED, UNSEEN),
    ],
)
async def test_a_version_that_nobody_made_current_says_what_to_run(answer: Any, said: str) -> None:
    with structlog.testing.capture_logs() as logs:
        await say_whether_it_gets_work(Engine(answer), OURS)  # type: ignore[arg-type]
    (line,) = logs
    assert line["event"] == said
    if said == NO_WORK:
        assert line["run"] == (
            "temporal worker deployment set-current-version --namespace default --deployment-name authpipe --build-id 2"
        )
