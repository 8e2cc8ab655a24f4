"""A client secret that is wrong for a while, and a provider that is down: a hundred connections on a real engine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlmodel import col, select
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from activities.messages import ConfigIds
from api.breakers import breaker_of
from api.lives import Lives
from domain.life import Status
from runtime.pace import Pace
from runtime.reconcile import reconcile
from runtime.temporal import register_search_attributes
from runtime.temporal_server import find_binary
from tests.end_to_end.in_process.test_store_lost import connect
from vault.crypto import Sealer
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.tables import Event, ProviderConfig
from workflows.attributes import KEYS

COUNT = 100
TENANTS = 7
SECONDS = 20
"""How long the first tokens live: long enough to connect all, short enough to wait for."""
# Those that were under way when the first one was refused.
MOST_CALLS = 12


@pytest.fixture
async def world(world_on: Callable[..., Any], engine_clock: Any) -> AsyncIterator[Any]:
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(find_binary())) as engine:
        await register_search_attributes(engine.client, KEYS)
        async with world_on(engine.client, engine_clock(datetime.now(UTC), real=True)) as world:
            yield world


async def running(world: Any) -> tuple[str, list[str]]:
    """A hundred connections of seven tenants, each with its workflow; the config's id and theirs."""
    config_id = await world.configure("plain", "user")
    sealer = Sealer(Keys(SqlKeyStore(world.db), KeyRing({"test": bytes(range(32))}, active="test"), world.clock))
    lives = [await connect(world, sealer, config_id, n, SECONDS) for n in range(COUNT)]
    await world.admin("PATCH", "settings", token_lifetime=3600)
    await reconcile(world.db, Lives(world.client), world.client, world.clock, Pace(200))
    return config_id, [life.id for life in lives]


async def events(world: Any) -> list[Event]:
    async with world.db.reading() as tx:
        return list((await tx.exec(select(Event).order_by(col(Event.sequence)))).all())


async def config(world: Any, config_id: str) -> ProviderConfig:
    async with world.db.reading() as tx:
        return await tx.get_one(ProviderConfig, config_id)


async def all_wait(world: Any, life_ids: list[str]) -> None:
    """Every one came due, found the config held, and waits."""
    rows, lives = await world.lives(), Lives(world.client)

    async def waits(life_id: str) -> bool:
        view = await lives.view(rows[life_id])
        return view is not None and view.held_until is not None

    waiting = set(life_ids)
    async with asyncio.timeout(90):
        while waiting:
            waiting -= {life_id for life_id in sorted(waiting)[:20] if await waits(life_id)}
            await asyncio.sleep(0.1)


async def all_refreshed(world: Any, life_ids: list[str]) -> None:
    async def fresh() -> int:
        return sum(life.generation > 1 for life in (await world.lives()).values())

    await world.until(fresh, lambda count: count == len(life_ids))
    assert {life.status for life in (await world.lives()).values()} == {Status.ACTIVE}
    counted = [grant["counters"] for grant in await world.admin("GET", "grants") if grant["alive"]]
    assert [counters["refreshes"] for counters in counted] == [1] * len(life_ids)


async def the_breaker_ends(world: Any, config_id: str) -> None:
    handle = world.client.get_workflow_handle(breaker_of(ConfigIds("default", "plain", config_id)))
    async with asyncio.timeout(30):
        await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


def tenants_take_turns(told: list[Event], tenant_of: dict[str, str]) -> bool:
    first = [tenant_of[event.life_id] for event in told if event.type == "connection.refreshed"][: 4 * TENANTS]
    return len(Counter(first)) == TENANTS


@pytest.mark.slow
async def test_a_wrong_client_secret_is_one_event_and_with_the_right_one_all_are_refreshed(world: Any) -> None:
    config_id, life_ids = await running(world)
    await world.admin("POST", "apps/authpipe-dev/rotate-secret", client_secret="the-new-one")
    before = (await world.admin("GET", "counters"))["plain.token"]
    await all_wait(world, life_ids)
    calls = (await world.admin("GET", "counters"))["plain.token"] - before
    assert 1 <= calls <= MOST_CALLS
    assert (await config(world, config_id)).hold_kind == "misconfigured"
    shown = (await world.api.get(f"/api/provider-configs/{config_id}")).json()
    assert (shown["hold_kind"], shown["held_reason"]) == ("misconfigured", "client_refused")

    answer = await world.api.patch(f"/api/provider-configs/{config_id}", json={"client_secret": "the-new-one"})
    assert (answer.status_code, "hold_kind" in answer.json()) == (200, False)
    await all_refreshed(world, life_ids)
    await the_breaker_ends(world, config_id)
    told = await events(world)
    kinds = Counter(event.type for event in told)
    assert kinds["provider_config.misconfigured"] == kinds["provider_config.recovered"] == 1
    assert set(kinds) == {"provider_config.misconfigured", "provider_config.recovered", "connection.refreshed"}
    assert tenants_take_turns(told, {life.id: life.tenant_id for life in (await world.lives()).values()})


@pytest.mark.slow
async def test_a_provider_that_is_down_is_asked_by_a_scout_alone_and_when_it_is_back_by_all(world: Any) -> None:
    config_id, life_ids = await running(world)
    before = (await world.admin("GET", "counters"))["plain.token"]
    # Certainly not handled, so that nothing is in doubt.
    await world.admin("POST", "faults", endpoint="plain.token", kind="status", status=429, times=None)
    await all_wait(world, life_ids)
    assert (await config(world, config_id)).hold_kind == "outage"
    calls = (await world.admin("GET", "counters"))["plain.token"] - before
    assert 5 <= calls <= 5 + 2 * MOST_CALLS
    await world.admin("DELETE", "faults")
    # The scout finds out by itself, after the pause.
    await all_refreshed(world, life_ids)
    await the_breaker_ends(world, config_id)
    kinds = Counter(event.type for event in await events(world))
    assert kinds["connection.needs_reauth"] == kinds["provider_config.misconfigured"] == 0
    assert kinds["connection.degraded"] == kinds["connection.recovered"] <= 5 + 2 * MOST_CALLS
