"""The Temporal client, and the search attributes that every workflow of ours carries."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from api.causes import CallCauses
from runtime.errors import SearchAttributeError, SettingsError
from runtime.settings import Settings
from runtime.telemetry import OFF, Telemetry

# The API answers from the vault when Temporal is away, so it must notice within a second.
FAST = RetryConfig(initial_interval_millis=50, max_interval_millis=300, max_elapsed_time_millis=800, max_retries=3)
# Temporal Cloud, and a cluster with authorisation, keep the operator service to their operators.
NOT_FOR_US = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED})
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0

Kinds = dict[str, IndexedValueType.ValueType]
T = TypeVar("T")

log = structlog.get_logger(__name__)


def connect_config(settings: Settings) -> ClientConnectConfig:
    """Where Temporal is: its own variables and profile file, else this machine.

    Development always means the engine that `authpipe dev` itself started: a profile for a cluster that lies
    about on a developer's machine must not be written to by accident.
    """
    here: ClientConnectConfig = {"target_host": f"127.0.0.1:{settings.temporal_port}"}
    if settings.development:
        return here
    try:
        return {**here, **ClientConfig.load_client_connect_config()}
    except (ValueError, RuntimeError, OSError) as error:
        # Only the first line: the next ones quote the file, which may hold an API key.
        said = str(error).splitlines()[0]
        raise SettingsError(f"TEMPORAL_…: Temporal's client settings cannot be read ({said})") from None


async def connect(settings: Settings, *, lazy: bool, telemetry: Telemetry = OFF) -> Client:
    """A client for the API (`lazy`: no call now, quick to give up) or for a worker (waits until Temporal answers).

    A lazy client's first call to an absent server raises `RuntimeError`, later ones `RPCError` UNAVAILABLE.
    """
    config = connect_config(settings)
    causes, runtime = [CallCauses(telemetry.tracer)], telemetry.runtime
    if lazy:
        return await Client.connect(**config, lazy=True, retry_config=FAST, interceptors=causes, runtime=runtime)
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            return await Client.connect(**config, interceptors=causes, runtime=runtime)
        except RuntimeError:
            log.warning("Temporal does not answer yet; trying again", address=config.get("target_host"), seconds=wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


async def if_known(asked: Awaitable[T]) -> T | None:
    """What the engine answers, or None if it knows nothing under that id. Raises `RPCError` for anything else."""
    try:
        return await asked
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def register_search_attributes(client: Client, keys: Sequence[SearchAttributeKey[Any]]) -> None:
    """Create what is missing, then compare types; a workflow that writes an unknown one hangs for ever.

    Temporal keeps the old type in silence when one exists under the same name, therefore the comparison.
    Raises `SearchAttributeError`.
    """
    wanted = {key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in keys}
    try:
        present = await _present(client)
    except RPCError as error:
        if error.status not in NOT_FOR_US:
            raise
        await _require_known(client, wanted, error.status)
        return
    missing = {name: kind for name, kind in wanted.items() if name not in present}
    if missing:
        await _add(client, missing)
        present = await _present(client)
    wrong = [name for name, kind in wanted.items() if present.get(name) != kind]
    if wrong:
        raise SearchAttributeError(
            f"Temporal namespace {client.namespace!r}: search attribute {wrong[0]} is "
            f"{_type_name(present.get(wrong[0]))}, it must be {_type_name(wanted[wrong[0]])}; "
            "use another namespace, or remove it there and start again"
        )


async def _present(client: Client) -> Kinds:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)


async def _add(client: Client, missing: Kinds) -> None:
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        raise _refused(client, missing, error.status) from None


async def _require_known(client: Client, wanted: Kinds, refused: RPCStatusCode) -> None:
    """Without a list to read: a query that names an unknown one is refused. Their types stay unseen."""
    missing = {name: kind for name, kind in wanted.items() if not await _known(client, name)}
    if missing:
        raise _refused(client, missing, refused) from None
    log.warning("search attributes are there, their types cannot be compared", refused=refused.name)


async def _known(client: Client, name: str) -> bool:
    try:
        await client.count_workflows(f"{name} IS NULL")
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


def _refused(client: Client, missing: Kinds, status: RPCStatusCode) -> SearchAttributeError:
    wanted = " ".join(f"--name {name} --type {_type_name(kind)}" for name, kind in missing.items())
    return SearchAttributeError(
        f"Temporal namespace {client.namespace!r} lacks search attributes and refuses to create them ({status.name}); "
        f"whoever may, runs: temporal operator search-attribute create --namespace {client.namespace} {wanted}"
    )


def _type_name(kind: IndexedValueType.ValueType | None) -> str:
    if kind is None:
        return "absent"
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").replace("_", " ").title()
