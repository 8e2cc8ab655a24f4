"""The Temporal client, and the search attributes that every workflow of ours carries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import GrpcCompression, RetryConfig, RPCError, RPCStatusCode

from api.causes import CallCauses
from runtime.errors import SearchAttributeError, SettingsError, StartError
from runtime.settings import Settings
from runtime.telemetry import OFF, Telemetry
from runtime.temporal_server import store_file
from workflows.attributes import KEYS
from workflows.payloads import BRIEF

# The API answers from the vault when Temporal is away, so it must notice within a second.
FAST = RetryConfig(initial_interval_millis=50, max_interval_millis=300, max_elapsed_time_millis=800, max_retries=3)
# Temporal Cloud, and a cluster with authorisation, keep the operator service to their operators.
NOT_FOR_US = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED})
# What a server answers, or the way to it, while it starts, ends or has too much to do.
AWAY = frozenset({RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED})
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0

Kind: TypeAlias = IndexedValueType.ValueType
Kinds = dict[str, Kind]
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
    reach = partial(
        Client.connect,
        interceptors=[CallCauses(telemetry.tracer)],
        runtime=telemetry.runtime,
        data_converter=BRIEF,
        grpc_compression=compression(config),
    )
    if lazy:
        return await reach(**config, lazy=True, retry_config=FAST)
    return await _once_it_answers(config["target_host"], lambda: reach(**config))


def compression(config: ClientConnectConfig) -> GrpcCompression:
    """The SDK's own where TLS says that it goes far. Near by it saves bytes alone, and costs the engine and us a fifth
    of a refresh's processor time on top (`docs/performance.md`).
    """
    return GrpcCompression.GZIP if config.get("tls") else GrpcCompression.NONE


async def connect_registered(settings: Settings, telemetry: Telemetry = OFF) -> Client:
    """A client for a worker, once Temporal answers and knows our search attributes. Raises `StartError`."""
    client = await connect(settings, lazy=False, telemetry=telemetry)
    address = client.service_client.config.target_host
    try:
        await _once_it_answers(address, lambda: register_search_attributes(client, KEYS))
    except RPCError as error:
        raise StartError(
            f"Temporal at {address}, namespace {client.namespace!r}: {error.status.name}; `authpipe doctor` says more"
        ) from None
    except SearchAttributeError as error:
        if not settings.development:
            raise
        file = store_file(settings)
        raise SearchAttributeError(
            f"{error}; here it lies in {file}: without that file every connection is started anew from the vault"
        ) from None
    return client


async def _once_it_answers(address: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while Temporal is away. Raises `RPCError` for an answer that waiting will not change."""
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            return await ask()
        except RuntimeError:
            pass  # what a first connection raises
        except RPCError as error:
            if error.status not in AWAY:
                raise
        log.warning("Temporal does not answer yet; trying again", address=address, seconds=wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


@dataclass(frozen=True, slots=True)
class Compared:
    """How a namespace stands to what our workflows write.

    `mistyped` names the types there. `refused`: it keeps its list to itself, so types stay unseen.
    """

    missing: Kinds
    mistyped: Kinds
    refused: RPCStatusCode | None = None


def kinds_of(keys: Sequence[SearchAttributeKey[Any]]) -> Kinds:
    """The type of each, by name, as the server writes it."""
    return {key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in keys}


async def compare_search_attributes(client: Client, keys: Sequence[SearchAttributeKey[Any]]) -> Compared:
    """What is missing, and what has another type. Changes nothing. Raises `RPCError`."""
    wanted = kinds_of(keys)
    try:
        present = await _present(client)
    except RPCError as error:
        if error.status not in NOT_FOR_US:
            raise
        # Without a list to read: a query that names an unknown one is refused.
        return Compared({n: kind for n, kind in wanted.items() if not await _known(client, n)}, {}, error.status)
    missing = {name: kind for name, kind in wanted.items() if name not in present}
    mistyped = {name: present[name] for name, kind in wanted.items() if present.get(name, kind) != kind}
    return Compared(missing, mistyped)


async def register_search_attributes(client: Client, keys: Sequence[SearchAttributeKey[Any]]) -> None:
    """Create what is missing, then compare types; a workflow that writes an unknown one hangs for ever.

    Temporal keeps the old type in silence when one exists under the same name, therefore the comparison.
    Raises `SearchAttributeError`.
    """
    compared = await compare_search_attributes(client, keys)
    if compared.refused:
        if compared.missing:
            raise _refused(client, compared.missing, compared.refused)
        log.warning("search attributes are there, their types cannot be compared", refused=compared.refused.name)
        return
    if compared.missing:
        await _add(client, compared.missing)
        compared = await compare_search_attributes(client, keys)
    for name in (*compared.mistyped, *compared.missing):
        said = mistyped(client, name, compared.mistyped.get(name), kinds_of(keys)[name])
        raise SearchAttributeError(f"{said}; use another namespace, or remove it there and start again")


def mistyped(client: Client, name: str, there: Kind | None, wanted: Kind) -> str:
    """In words: which attribute has which type, and should have which."""
    return (
        f"Temporal namespace {client.namespace!r}: search attribute {name} is {_type_name(there)}, "
        f"it must be {_type_name(wanted)}"
    )


def creating_command(client: Client, missing: Kinds) -> str:
    """The command line by which whoever may creates them."""
    wanted = " ".join(f"--name {name} --type {_type_name(kind)}" for name, kind in missing.items())
    return f"temporal operator search-attribute create --namespace {client.namespace} {wanted}"


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


async def _known(client: Client, name: str) -> bool:
    try:
        await client.count_workflows(f"{name} IS NULL")
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


def _refused(client: Client, missing: Kinds, status: RPCStatusCode) -> SearchAttributeError:
    return SearchAttributeError(
        f"Temporal namespace {client.namespace!r} lacks search attributes and refuses to create them ({status.name}); "
        f"whoever may, runs: {creating_command(client, missing)}"
    )


def _type_name(kind: Kind | None) -> str:
    if kind is None:
        return "absent"
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").replace("_", " ").title()
