"""The doctor on a real engine: one server, a namespace for each thing that can be wrong with one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, VersioningBehavior, WorkerDeploymentVersion
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from runtime.doctor.findings import Code, Finding
from runtime.ports import free_port
from runtime.running import pollers_of
from runtime.settings import Settings
from runtime.temporal import register_search_attributes
from runtime.temporal_server import find_binary
from tests.runtime.doctoring import KEY, only, outcome, wall_clock
from tests.runtime.test_doctor_vault import keep, silent_server
from workflows.attributes import KEYS
from workflows.queues import DELIVERY_QUEUE, LIFE_QUEUE, provider_queue

NAMESPACES = ("bare", "mistyped", "served", "versioned")


@activity.defn
async def nothing() -> None:
    """Somebody has to offer something."""


@workflow.defn
class Nothing:
    @workflow.run
    async def run(self) -> None:
        pass


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Client]:
    named = [word for name in NAMESPACES for word in ("--namespace", name)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary()), dev_server_extra_args=named
    ) as environment:
        yield environment.client


@pytest.fixture
def in_namespace(
    engine: Client, settings_with: Callable[..., Settings], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Settings]:
    """Settings whose Temporal is the engine, in the namespace of that name."""

    def build(name: str) -> Settings:
        monkeypatch.setenv("TEMPORAL_ADDRESS", engine.service_client.config.target_host)
        monkeypatch.setenv("TEMPORAL_NAMESPACE", name)
        return settings_with(database_url=sqlite_url, key_encryption_key=KEY)

    return build


async def client_of(engine: Client, namespace: str) -> Client:
    return await Client.connect(engine.service_client.config.target_host, namespace=namespace)


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
async def test_an_engine_that_does_not_answer_is_found_in_time(
    settings_with: Callable[..., Settings], answers: bool
) -> None:
    async with silent_server() as port:
        target = port if answers else free_port()
        finding = await only(settings_with(temporal_port=target), "workers")
    assert (finding.code, f"127.0.0.1:{target}" in finding.what) == (Code.TEMPORAL_UNREACHABLE, True)
    assert "TEMPORAL_ADDRESS" in finding.remedy


async def test_settings_of_temporal_that_cannot_be_read_are_a_finding(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\napi_key = "canary\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    finding = await only(settings_with(), "workers")
    assert (finding.code, "TEMPORAL_CONFIG_FILE" in finding.remedy) == (Code.TEMPORAL_SETTINGS_UNREADABLE, True)
    assert "canary" not in finding.what


async def test_a_namespace_that_there_is_not_is_found(in_namespace: Callable[[str], Settings]) -> None:
    finding = await only(in_namespace("nowhere"), "workers")
    assert (finding.code, "'nowhere'" in finding.what) == (Code.NAMESPACE_MISSING, True)
    assert "temporal operator namespace create" in finding.remedy


async def test_missing_search_attributes_are_named_with_the_command_that_makes_them(
    engine: Client, in_namespace: Callable[[str], Settings]
) -> None:
    await register_search_attributes(await client_of(engine, "bare"), KEYS[:1])
    finding = await only(in_namespace("bare"), "search attributes")
    assert finding.code == Code.SEARCH_ATTRIBUTE_MISSING
    assert KEYS[0].name not in finding.what
    for key in KEYS[1:]:
        assert key.name in finding.what
        assert f"--name {key.name} --type Keyword" in finding.remedy
    assert "search-attribute create --namespace bare" in finding.remedy


async def test_a_search_attribute_of_another_type_is_named_with_both_types(
    engine: Client, in_namespace: Callable[[str], Settings]
) -> None:
    client = await client_of(engine, "mistyped")
    await register_search_attributes(client, [SearchAttributeKey.for_int(KEYS[1].name), KEYS[0], *KEYS[2:]])
    finding = await only(in_namespace("mistyped"), "search attributes")
    assert finding.code == Code.SEARCH_ATTRIBUTE_MISTYPED
    assert f"{KEYS[1].name} is Int, it must be Keyword" in finding.what
    assert "another namespace" in finding.remedy


async def test_looking_registers_nothing(in_namespace: Callable[[str], Settings]) -> None:
    settings = in_namespace("served")
    first = await only(settings, "search attributes")
    assert (await only(settings, "search attributes")).what == first.what


def workers(client: Client, *queues: str, build: str = "") -> list[Worker]:
    """One for each queue, of a build of the deployment `ours` if named; that of the lives alone runs workflows."""
    deployment = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion("ours", build),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )
    return [
        Worker(
            client,
            task_queue=queue,
            activities=[nothing],
            workflows=[Nothing] if queue == LIFE_QUEUE else [],
            workflow_runner=UnsandboxedWorkflowRunner(),
            deployment_config=deployment if build else None,
        )
        for queue in queues
    ]


async def polled(client: Client, *queues: str) -> None:
    """Returns once the server has seen somebody at each queue."""
    async with asyncio.timeout(20):
        for queue in queues:
            while not await pollers_of(client, queue, workflows=queue == LIFE_QUEUE):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_workers_are_missed_when_none_runs_and_when_one_has_stopped(
    engine: Client, in_namespace: Callable[[str], Settings]
) -> None:
    settings = in_namespace("served")
    client = await client_of(engine, "served")
    found = (await outcome(settings, "workers")).findings
    assert [finding.code for finding in found] == [Code.NO_WORKER_POLLS] * 2
    assert (LIFE_QUEUE in found[0].what, DELIVERY_QUEUE in found[1].what) == (True, True)
    assert "authpipe worker" in found[0].remedy

    await keep(settings, "conn_1", provider_id="jira")
    async with AsyncExitStack() as running:
        for worker in workers(client, LIFE_QUEUE, DELIVERY_QUEUE):
            await running.enter_async_context(worker)
        await polled(client, LIFE_QUEUE, DELIVERY_QUEUE)
        assert (await outcome(settings, "workers")).findings == []
        finding = await only(settings, "workers by provider")
        assert (finding.code, "provider 'jira'" in finding.what) == (Code.NO_WORKER_POLLS, True)
        for worker in workers(client, provider_queue("jira")):
            await running.enter_async_context(worker)
        await polled(client, provider_queue("jira"))
        assert (await outcome(settings, "workers by provider")).findings == []

    def later() -> datetime:
        return wall_clock() + timedelta(minutes=2)

    # The server lists a worker for minutes after its end.
    assert len((await outcome(settings, "workers", later)).findings) == 2


async def make_current(client: Client, build: str) -> None:
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name="ours", build_id=build, allow_no_pollers=True
    )
    await client.workflow_service.set_worker_deployment_current_version(request)


async def until_found(settings: Settings, *codes: Code) -> Sequence[Finding]:
    """What the check of the workers finds, once it finds these: the engine tells its queues of a new version later."""
    async with asyncio.timeout(20):
        while True:
            findings = (await outcome(settings, "workers")).findings
            if [finding.code for finding in findings] == list(codes):
                return findings
            await asyncio.sleep(0.05)


async def test_workers_of_a_version_that_is_not_the_current_one_are_found_with_the_command(
    engine: Client, in_namespace: Callable[[str], Settings]
) -> None:
    settings, client = in_namespace("versioned"), await client_of(engine, "versioned")
    queues, nothing_twice = (LIFE_QUEUE, DELIVERY_QUEUE), [Code.WORKERS_GET_NOTHING] * 2
    async with AsyncExitStack() as running:
        for worker in workers(client, *queues, build="1"):
            await running.enter_async_context(worker)
        await polled(client, *queues)
        finding, _ = await until_found(settings, *nothing_twice)
        assert "workers of no version; those that ask for them are of version 1 of deployment 'ours'" in finding.what
        assert "--namespace versioned --deployment-name ours --build-id 1" in finding.remedy
        await make_current(client, "1")
        await until_found(settings)
        await make_current(client, "")
        await until_found(settings, *nothing_twice)
