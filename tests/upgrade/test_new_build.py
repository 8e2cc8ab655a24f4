"""Workers of a newer build, whose workflow gives other commands behind `patched`, take over from those of this one.

In both ways: unversioned, and with Temporal's worker versioning by ramp and by the current version.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import (
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.service import RPCError

from tests.upgrade.fleet import CONNECTIONS, TOKEN_SECONDS, Fleet
from tests.upgrade.stand import UpgradeStand, Worker, upgrade_stand
from tests.upgrade.trees import BEFORE, GUARDED, LIFE, ROOT, UNGUARDED, changed, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DEPLOYMENT, OLD, NEW = "authpipe", "old-1", "new-2"


@pytest.fixture(scope="module")
def new_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Today's code with a command more, guarded."""
    return changed(tmp_path_factory.mktemp("new-build"), LIFE, BEFORE, GUARDED)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[UpgradeStand]:
    async with upgrade_stand(tmp_path) as stand:
        yield stand


@pytest.fixture
async def fleet(stand: UpgradeStand) -> Fleet:
    return Fleet(stand, await stand.app("jira", token_lifetime=TOKEN_SECONDS))


def patched(events: list[Any]) -> bool:
    """The run has given the new build's command: it began under it, for a run keeps the commands it began with."""
    return any(e.event_type == EventType.EVENT_TYPE_MARKER_RECORDED for e in events)


def taken_by(events: list[Any]) -> set[str]:
    """Who did the workflow's tasks in this run."""
    return {
        e.workflow_task_completed_event_attributes.identity
        for e in events
        if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    }


def failed_by(worker: Worker, histories: dict[str, list[Any]]) -> list[str]:
    """Tasks that a worker could not do, since it could not read the history. Those of a killed one time out instead."""
    failed = [
        e.workflow_task_failed_event_attributes
        for events in histories.values()
        for e in events
        if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
    return [str(task.failure.message) for task in failed if task.identity.startswith(worker.identity)]


def by(worker: Worker) -> Callable[[list[Any]], bool]:
    """The whole run was this worker's, as far as it has come."""

    def whole(events: list[Any]) -> bool:
        taken = taken_by(events)
        return bool(taken) and all(identity.startswith(worker.identity) for identity in taken)

    return whole


def reached(worker: Worker, histories: dict[str, list[Any]]) -> int:
    """How many lives this worker had a part in."""
    return sum(any(i.startswith(worker.identity) for i in taken_by(events)) for events in histories.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
async def test_unversioned_workers_of_a_new_build_take_over(
    stand: UpgradeStand, fleet: Fleet, new_build: Path, number: signal.Signals
) -> None:
    old = await stand.worker()
    await fleet.connect()
    async with fleet.read_all_the_while():
        await fleet.refreshed_since(await fleet.generations())
        new = await stand.worker(new_build)
        await fleet.refreshed_since(await fleet.generations())  # both at once
        code = await old.end(number)
        # Runs that the old build began go on under the new one, and keep the old commands until they end.
        await fleet.refreshed_since(await fleet.generations(), times=2)
        taken_over = await stand.histories()
        begun_anew = await fleet.come_to(lambda events: patched(events) and by(new)(events))
    assert code == (0 if number == signal.SIGTERM else -number)
    assert failed_by(new, taken_over) == failed_by(new, begun_anew) == []
    await fleet.is_well()


async def test_an_unguarded_change_of_commands_leaves_lives_stuck_and_that_is_seen(
    stand: UpgradeStand, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """So that the test above can fail; `tests/workflows/test_replay.py` catches this change before it is shipped."""
    old = await stand.worker()
    await fleet.connect()
    await fleet.refreshed_since(await fleet.generations())
    await stand.worker(changed(tmp_path_factory.mktemp("wrong-build"), LIFE, BEFORE, UNGUARDED))
    await old.end(signal.SIGTERM)
    await stand.until(stand.stuck, 60)


async def test_on_the_way_back_runs_that_the_old_build_cannot_read_are_started_anew(
    stand: UpgradeStand, fleet: Fleet, new_build: Path
) -> None:
    new = await stand.worker(new_build)
    await fleet.connect()
    async with fleet.read_all_the_while():
        await fleet.come_to(patched)
        await stand.worker()
        await new.end(signal.SIGTERM)
        before = await fleet.generations()

        async def reconciled() -> bool:
            done = await asyncio.to_thread(run, ROOT, "reconcile", "--json", env=stand.environment)
            findings = json.loads(done.stdout)["findings"]
            return findings.get("stuck", {"found": 0})["found"] == 0 and not await stand.stuck()

        await stand.until(reconciled, 240)
        await fleet.refreshed_since(before)
    await fleet.is_well()


async def said_to_engine(call: Callable[[], Awaitable[Any]], stand: UpgradeStand) -> None:
    """Said again until the engine knows the version with all its queues, which takes it a moment."""

    async def done() -> bool:
        with suppress(RPCError):
            await call()
            return True
        return False

    await stand.until(done, 30)


async def make_current(stand: UpgradeStand, build: str) -> None:
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace="default", deployment_name=DEPLOYMENT, build_id=build, identity="operator"
    )
    await said_to_engine(lambda: stand.client.workflow_service.set_worker_deployment_current_version(request), stand)


async def ramp(stand: UpgradeStand, build: str, percentage: float) -> None:
    request = SetWorkerDeploymentRampingVersionRequest(
        namespace="default", deployment_name=DEPLOYMENT, build_id=build, percentage=percentage, identity="operator"
    )
    await said_to_engine(lambda: stand.client.workflow_service.set_worker_deployment_ramping_version(request), stand)


async def versioned(stand: UpgradeStand, build: str, *tree: Path) -> Worker:
    return await stand.worker(*tree, worker_deployment=DEPLOYMENT, worker_build_id=build)


async def test_versioned_workers_of_a_new_build_take_over_by_ramp_and_then_all(
    stand: UpgradeStand, fleet: Fleet, new_build: Path
) -> None:
    old = await versioned(stand, OLD)
    assert f"--deployment-name {DEPLOYMENT} --build-id {OLD}" in old.log.read_text()
    await make_current(stand, OLD)
    await fleet.connect()
    async with fleet.read_all_the_while():
        await fleet.refreshed_since(await fleet.generations())
        new = await versioned(stand, NEW, new_build)
        await fleet.refreshed_since(await fleet.generations())
        assert reached(new, await stand.histories()) == 0, "nobody has made it current"

        await ramp(stand, NEW, 50)
        await fleet.refreshed_since(await fleet.generations(), times=2)
        assert 0 < reached(new, await stand.histories()) < CONNECTIONS, "some and not all"

        await make_current(stand, NEW)
        await old.end(signal.SIGKILL)
        await fleet.refreshed_since(await fleet.generations(), times=2)
        taken_over = await stand.histories()
        begun_anew = await fleet.come_to(lambda events: patched(events) and by(new)(events))
    assert failed_by(new, taken_over) == failed_by(new, begun_anew) == []
    await fleet.is_well()


async def test_versioning_is_turned_on_and_off_while_connections_live(stand: UpgradeStand, fleet: Fleet) -> None:
    unversioned = await stand.worker()
    await fleet.connect()
    async with fleet.read_all_the_while():
        first = await versioned(stand, OLD)
        await make_current(stand, OLD)
        await unversioned.end(signal.SIGTERM)
        await fleet.refreshed_since(await fleet.generations(), times=2)

        last = await stand.worker()
        await make_current(stand, "")
        await first.end(signal.SIGTERM)
        await fleet.refreshed_since(await fleet.generations(), times=2)
        await fleet.come_to(by(last))
    await fleet.is_well()
