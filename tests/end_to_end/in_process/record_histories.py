"""Records one life of each kind into `tests/histories/`, from a real server: run it by name, after changing commands.

    .venv/bin/python -m pytest tests/end_to_end/in_process/record_histories.py

Keep the files that are there, since living runs look like them; add new ones under the name of the version:
`HISTORIES=0.2 ...`. `tests/workflows/test_replay.py` replays them all.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, update
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from activities.messages import ConfigIds
from api.breakers import breaker_of
from runtime.temporal import register_search_attributes
from runtime.temporal_server import find_binary
from vault.tables import Life, ProviderConfig
from workflows.attributes import KEYS
from workflows.breaker import Breaker
from workflows.delivery import delivery_id
from workflows.life import REFRESHES_PER_RUN, REFRESHES_SPREAD, ConnectionLife
from workflows.messages import EnsureFresh

FOLDER = Path(__file__).parents[2] / "histories"
VERSION = os.environ.get("HISTORIES", "0.1")
# Names the machine: who polled, and on which queue of its own.
OURS = re.compile(r"^\d+@")


@pytest.fixture
async def world(world_on: Callable[..., Any], engine_clock: Any) -> AsyncIterator[Any]:
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(find_binary())) as engine:
        await register_search_attributes(engine.client, KEYS)
        async with world_on(engine.client, engine_clock(datetime.now(UTC), real=True)) as world:
            yield world


async def keep(world: Any, life_id: str, name: str) -> None:
    """Write every run of a life, without what names this machine."""
    for number, run in enumerate(await world.runs(life_id), 1):
        write(run, name, number)


def write(run: WorkflowHistory, name: str, number: int = 1) -> None:
    """Write a run, without what names this machine."""
    history = without_names(run.to_json_dict())
    path = FOLDER / f"{VERSION}-{name}-{number}.json"
    path.write_text(json.dumps({"workflow_id": run.workflow_id, **history}, indent=1) + "\n")


def without_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "worker" if key == "identity" else without_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_names(item) for item in value]
    return "worker" if isinstance(value, str) and OURS.match(value) else value


async def connected(world: Any, provider: str = "plain", person: str = "member", **more: Any) -> str:
    """An installation that became active at once."""
    config_id = await world.configure(provider, "tenant")
    opened = await world.open("/oauth/installs", config_id, provider, tenant_id="acme")
    sites = ("Acme Engineering",) if provider == "jira" else ()
    await world.consent(opened, person, sites, **more)
    return str((await world.outcome(opened))["installation_id"])


async def fresh(world: Any, life_id: str) -> Any:
    handle, row = await world.handle(life_id), await world.life(life_id)
    return await handle.execute_update(ConnectionLife.ensure_fresh, EnsureFresh(row.generation))


async def reaches(world: Any, life_id: str, fact: Callable[[Any], bool]) -> None:
    handle = await world.handle(life_id)

    async def view() -> Any:
        return await handle.query(ConnectionLife.life_view)

    await world.until(view, fact)


async def change(world: Any, table: Any, row_id: str, **values: Any) -> None:
    """Let time pass for a row: what is due in hours is due now."""
    async with world.db.transaction() as tx:
        await tx.exec(update(table).where(col(table.id) == row_id).values(values))


async def test_an_installation_with_a_choice_among_sites(world: Any) -> None:
    config_id = await world.configure("jira", "tenant")
    opened = await world.open("/oauth/installs", config_id, "jira", tenant_id="acme")
    await world.consent(opened, "admin", ("Acme Engineering", "Acme Support"))
    waiting = await world.outcome(opened)
    assert waiting["status"] == "awaiting_selection"
    path = f"/oauth/sessions/{opened['session_id']}/selection"
    chosen = await world.api.post(path, json={"site_id": waiting["sites"][1]["id"]})
    assert chosen.json()["status"] == "completed", chosen.text
    await keep(world, chosen.json()["installation_id"], "installation_with_a_choice")


async def test_a_user_connection_that_is_confirmed_afterwards(world: Any) -> None:
    await connected(world, "jira", "admin")
    config_id = (await world.api.post("/api/provider-configs/search", json={})).json()["data"][0]["id"]
    answer = await world.api.patch(f"/api/provider-configs/{config_id}", json={"verify_user": True})
    assert answer.status_code == 200, answer.text
    opened = await world.open("/oauth/sessions", config_id, "jira", tenant_id="acme", user_id="user-1")
    await world.consent(opened, "member", ("Acme Engineering",))
    assert (await world.outcome(opened))["status"] == "pending_verification"
    path = f"/oauth/sessions/{opened['session_id']}/complete"
    done = await world.api.post(path, json={"tenant_id": "acme", "user_id": "user-1"})
    assert done.json()["status"] == "completed", done.text
    await keep(world, done.json()["connection_id"], "connection_confirmed")


async def test_refreshes_by_timer_and_by_request_through_continue_as_new(world: Any) -> None:
    life_id = await connected(world, lifetime=5)
    first = (await world.life(life_id)).generation
    await reaches(world, life_id, lambda v: v.generation >= first + 2)
    for _ in range(REFRESHES_PER_RUN + REFRESHES_SPREAD):
        await fresh(world, life_id)
    assert len(await world.runs(life_id)) == 2
    await keep(world, life_id, "refreshes")


async def test_a_dead_grant_and_its_repair(world: Any) -> None:
    life_id = await connected(world)
    config_id = (await world.life(life_id)).provider_config_id
    await world.admin("POST", f"grants/{(await world.grant())['id']}/revoke")
    await fresh(world, life_id)
    assert (await world.life(life_id)).status == "needs_reauth"
    opened = await world.open("/oauth/installs", config_id, "plain", tenant_id="acme")
    await world.consent(opened, "member")
    assert (await world.life(life_id)).status == "active"
    await keep(world, life_id, "dead_and_repaired")


async def test_an_answer_that_was_lost_and_a_token_sent_again(world: Any) -> None:
    life_id = await connected(world, "jira", "admin")
    first = (await world.life(life_id)).generation
    await world.admin("POST", "faults", endpoint="token", kind="drop_after", times=1)
    await fresh(world, life_id)
    await reaches(world, life_id, lambda v: v.generation > first)
    assert (await world.grant())["counters"]["replays_inside"] == 1
    await keep(world, life_id, "in_doubt")


async def test_an_outage_and_a_wrong_client_secret(world: Any) -> None:
    life_id = await connected(world, "jira", "admin")
    first = (await world.life(life_id)).generation
    await world.admin("POST", "faults", endpoint="token", kind="status", status=503, times=2)
    await fresh(world, life_id)
    await reaches(world, life_id, lambda v: v.generation > first)
    refusal = {"error": "access_denied"}
    await world.admin("POST", "faults", endpoint="token", kind="status", status=401, body=refusal, times=1)
    await fresh(world, life_id)
    await reaches(world, life_id, lambda v: v.held_until is not None)
    await keep(world, life_id, "degraded_and_held")


async def test_a_deletion(world: Any) -> None:
    life_id = await connected(world)
    await world.admin("POST", "faults", endpoint="plain.revoke", kind="status", status=503, times=1)
    handle = await world.handle(life_id)
    assert (await world.api.delete(f"/api/installations/{life_id}")).status_code == 204
    await handle.result()
    await keep(world, life_id, "deletion")


async def test_an_attempt_that_failed_on_a_life_that_never_was(world: Any) -> None:
    config_id = await world.configure("jira", "tenant")
    opened = await world.open("/oauth/installs", config_id, "jira", tenant_id="acme")
    (row,) = (await world.lives()).values()
    await world.consent(opened, "nosite")
    assert (await world.outcome(opened))["reason"] == "no_site"
    await (await world.handle(row.id)).result()
    await keep(world, row.id, "failed_attempt")


async def test_a_withdrawn_grant_that_two_tenants_share(world: Any) -> None:
    """One life hears it from the token endpoint and tells the other, which probes, refreshes, and hears it too."""
    config_id = await world.configure("plain", "tenant")
    lives = []
    for tenant in ("acme", "beta"):
        opened = await world.open("/oauth/installs", config_id, "plain", tenant_id=tenant)
        await world.consent(opened, "member")
        lives.append((await world.outcome(opened))["installation_id"])
    first, second = lives
    for grant in await world.admin("GET", "grants"):
        await world.admin("POST", f"grants/{grant['id']}/revoke")
    await fresh(world, second)
    await reaches(world, first, lambda v: v.status == "needs_reauth")
    await keep(world, second, "tells_its_siblings")
    await keep(world, first, "told_by_a_sibling")


async def test_check_ups_a_report_and_a_hold_that_is_released(world: Any) -> None:
    """A check-up by its timer, one that a builder's report brings forward, and a refresh after the config's hold."""
    life_id = await connected(world, "jira", "admin", lifetime=6)
    handle, life = await world.handle(life_id), await world.life(life_id)

    async def probed() -> Any:
        return (await world.life(life_id)).probed_at

    await change(world, Life, life_id, probe_at=datetime.now(UTC) + timedelta(seconds=2))
    await handle.signal(ConnectionLife.wake)
    first = await world.until(probed, lambda at: at and at > life.connected_at)
    await change(world, Life, life_id, probed_at=datetime.now(UTC) - timedelta(minutes=2))
    told = await world.api.post(f"/api/installations/{life_id}/report", json={"status": 401})
    assert told.json()["checking"], told.text
    await world.until(probed, lambda at: at > first)
    refusal = {"error": "access_denied"}
    await world.admin("POST", "faults", endpoint="token", kind="status", status=401, body=refusal, times=1)
    await fresh(world, life_id)
    # It comes due, finds the hold, and waits for its breaker.
    long = datetime.now(UTC) + timedelta(minutes=20)
    await reaches(world, life_id, lambda v: v.held_until is not None and v.held_until > long)
    held = (await world.life(life_id)).generation
    await change(world, ProviderConfig, life.provider_config_id, held_until=datetime.now(UTC))
    breaker = world.client.get_workflow_handle(breaker_of(ConfigIds("default", "jira", life.provider_config_id)))
    await breaker.signal(Breaker.look)
    await breaker.result()
    await reaches(world, life_id, lambda v: v.generation > held)
    await keep(world, life_id, "checked_up_and_held")


async def test_a_breaker_that_waits_sends_a_scout_and_releases(world: Any) -> None:
    life_id = await connected(world, lifetime=5)
    life = await world.life(life_id)
    refusal = {"error": "invalid_client"}
    await world.admin("POST", "faults", endpoint="plain.token", kind="status", status=401, body=refusal, times=1)
    await fresh(world, life_id)
    # It comes due, finds the hold, and waits for its breaker.
    long = datetime.now(UTC) + timedelta(minutes=20)
    await reaches(world, life_id, lambda v: v.held_until is not None and v.held_until > long)
    await change(world, ProviderConfig, life.provider_config_id, held_until=datetime.now(UTC))
    handle = world.client.get_workflow_handle(breaker_of(ConfigIds("default", "plain", life.provider_config_id)))
    await handle.signal(Breaker.look)
    await handle.result()
    write(await handle.fetch_history(), "breaker")


async def test_events_that_fail_and_arrive(world: Any) -> None:
    """The first fails with a 503 and comes again after seconds; the last round finds nothing more."""
    answers = iter([503])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}}")
        writer.write(f"HTTP/1.1 {next(answers, 204)} X\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    async def queue() -> Any:
        return (await world.api.post("/api/events/search", json={})).json()["data"]

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await world.api.post("/api/webhook-config", json={"webhook_url": url})).status_code == 201
        await connected(world)
        await world.until(queue, lambda events: events and all("delivered_at" in event for event in events))
    handle = world.client.get_workflow_handle(delivery_id("default"))

    async def latest() -> Any:
        return (await handle.fetch_history()).events[-1]

    await world.until(latest, lambda event: event.HasField("timer_started_event_attributes"))
    write(await handle.fetch_history(), "delivery")
