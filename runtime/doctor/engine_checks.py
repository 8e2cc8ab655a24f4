"""Checks of Temporal: does it answer, has it our search attributes, does a worker take what lies in its queues."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, timedelta

from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from runtime.doctor.findings import Code, Finding, found
from runtime.doctor.patient import Patient
from runtime.errors import SettingsError
from runtime.running import described_queue
from runtime.temporal import FAST, compare_search_attributes, connect_config, creating_command, kinds_of, mistyped
from runtime.worker_version import making_current, told, used_versions, versions_of
from vault.lives import providers_of_living
from workflows.attributes import KEYS
from workflows.queues import DELIVERY_QUEUE, LIFE_QUEUE, provider_queue

CALL_SECONDS = 5.0
# A worker that has nothing to do asks again after a minute at most; the server lists it for minutes after its end.
ASKED_WITHIN = timedelta(seconds=75)


async def temporal(patient: Patient) -> AsyncIterator[Finding]:
    """Whether it lets us in, and has the namespace."""
    try:
        config = connect_config(patient.settings)
    except SettingsError as fault:
        yield found(Code.TEMPORAL_SETTINGS_UNREADABLE, str(fault))
        return
    where = f"Temporal at {config['target_host']}"
    patient.client = await Client.connect(**config, lazy=True, retry_config=FAST)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await patient.client.count_workflows()
    except (RuntimeError, TimeoutError):
        yield found(Code.TEMPORAL_UNREACHABLE, f"{where} does not answer")
    except RPCError as error:
        code = _REFUSALS.get(error.status, Code.TEMPORAL_UNREACHABLE)
        yield found(code, f"{where}, namespace {patient.client.namespace!r}: {error.status.name}")


_REFUSALS = {
    RPCStatusCode.NOT_FOUND: Code.NAMESPACE_MISSING,
    RPCStatusCode.PERMISSION_DENIED: Code.TEMPORAL_REFUSES,
    RPCStatusCode.UNAUTHENTICATED: Code.TEMPORAL_REFUSES,
}


async def search_attributes(patient: Patient) -> AsyncIterator[Finding]:
    """Whether all are there, under the type our workflows write; types only where the server tells them."""
    client = patient.client
    compared = await compare_search_attributes(client, KEYS)
    if compared.missing:
        remedy = f"Start a worker, which creates it; or run: {creating_command(client, compared.missing)}"
        named = ", ".join(compared.missing)
        yield found(Code.SEARCH_ATTRIBUTE_MISSING, f"namespace {client.namespace!r} lacks {named}", remedy)
    for name, there in compared.mistyped.items():
        yield found(Code.SEARCH_ATTRIBUTE_MISTYPED, mistyped(client, name, there, kinds_of(KEYS)[name]))


async def workers(patient: Patient) -> AsyncIterator[Finding]:
    """Whether anybody takes workflows and deliveries, and gets them."""
    for queue, workflows in ((LIFE_QUEUE, True), (DELIVERY_QUEUE, False)):
        described = await described_queue(patient.client, queue, workflows=workflows)
        asking = _asking(patient, described)
        here, there = versions_of(asking), used_versions(described.versioning_info)
        if not asking:
            yield found(Code.NO_WORKER_POLLS, f"no worker asks for the tasks of queue {queue!r}")
        elif here.isdisjoint(there):
            goes = f"the tasks of queue {queue!r} go to workers of {told(there)}"
            command = making_current(patient.client.namespace, max(here), max(there))
            remedy = f"Start workers of the version that gets the tasks, or give them to those that ask: {command}"
            yield found(Code.WORKERS_GET_NOTHING, f"{goes}; those that ask for them are of {told(here)}", remedy)


async def provider_queues(patient: Patient) -> AsyncIterator[Finding]:
    """Whether what calls a provider is taken, for each with a life: an older worker may not know a new provider."""
    for provider_id in sorted(await providers_of_living(patient.db)):
        described = await described_queue(patient.client, provider_queue(provider_id), workflows=False)
        if not _asking(patient, described):
            yield found(Code.NO_WORKER_POLLS, f"no worker asks for the tasks of provider {provider_id!r}", _RESTART)


_RESTART = (
    "Start the workers again: each serves the providers that it knew at its start. Is the provider's file one of "
    "yours, see that every worker has it."
)


def _asking(patient: Patient, queue: DescribeTaskQueueResponse) -> Sequence[PollerInfo]:
    since = patient.clock() - ASKED_WITHIN
    return [poller for poller in queue.pollers if poller.last_access_time.ToDatetime(tzinfo=UTC) > since]
