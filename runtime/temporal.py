"""The Temporal client, and the search attributes that every workflow of ours carries."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RetryConfig, RPCError

from runtime.errors import SearchAttributeError, SettingsError
from runtime.settings import Settings

# The API answers from the vault when Temporal is away, so it must notice within a second.
FAST = RetryConfig(initial_interval_millis=50, max_interval_millis=300, max_elapsed_time_millis=800, max_retries=3)
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0

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


async def connect(settings: Settings, *, lazy: bool) -> Client:
    """A client for the API (`lazy`: no call now, quick to give up) or for a worker (waits until Temporal answers).

    A lazy client's first call to an absent server raises `RuntimeError`, later ones `RPCError` UNAVAILABLE.
    """
    config = connect_config(settings)
    if lazy:
        return await Client.connect(**config, lazy=True, retry_config=FAST)
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            return await Client.connect(**config)
        except RuntimeError:
            log.warning("Temporal does not answer yet; trying again", address=config.get("target_host"), seconds=wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


async def register_search_attributes(client: Client, keys: Sequence[SearchAttributeKey[Any]]) -> None:
    """Create what is missing, then compare types; a workflow that writes an unknown one hangs for ever.

    Temporal keeps the old type in silence when one exists under the same name, therefore the comparison.
    Raises `SearchAttributeError`.
    """
    wanted = {key.name: IndexedValueType.ValueType(int(key.indexed_value_type)) for key in keys}
    present = await _present(client)
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


async def _present(client: Client) -> dict[str, IndexedValueType.ValueType]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)


async def _add(client: Client, missing: dict[str, IndexedValueType.ValueType]) -> None:
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        # Temporal Cloud, and a cluster with authorisation, keep this to their operators.
        wanted = ", ".join(f"{name} ({_type_name(kind)})" for name, kind in missing.items())
        raise SearchAttributeError(
            f"Temporal namespace {client.namespace!r} lacks search attributes and refuses to create them "
            f"({error.status.name}); create them there: {wanted}"
        ) from None


def _type_name(kind: IndexedValueType.ValueType | None) -> str:
    if kind is None:
        return "absent"
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").replace("_", " ").title()
