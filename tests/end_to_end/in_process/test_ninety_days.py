"""Ninety days of hourly refreshes in the time-skipping server, with the real vault and a provider on the same clock.

The provider has no replay window: a refresh token that is presented twice kills its grant.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowHandle, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.testing import WorkflowEnvironment

from tests.time_skipping import pass_time
from vault.tables import Credential, Event
from workflows.attributes import KEYS
from workflows.life import REFRESHES_PER_RUN, REFRESHES_SPREAD, ConnectionLife
from workflows.messages import EnsureFresh, Freshness

HOUR = timedelta(hours=1)
EVENTS_OF_A_REFRESH = 20


@asynccontextmanager
async def skipping_engine() -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping server, with our search attributes."""
    program = Path(sys.executable).parent / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(program)) as environment:
        keys: Any = {key.name: int(key.indexed_value_type) for key in KEYS}
        request = AddSearchAttributesRequest(namespace=environment.client.namespace, search_attributes=keys)
        await environment.client.operator_service.add_search_attributes(request)
        yield environment


@pytest.fixture
async def engine() -> AsyncIterator[WorkflowEnvironment]:
    async with skipping_engine() as environment:
        yield environment


@dataclass
class Heckler:
    """Around the simulator: during each refresh that may be the last of its run it sends a signal and an update."""

    app: Any
    handle: WorkflowHandle[ConnectionLife, None] | None = None
    generation: int = 0
    refreshes: Counter[str] = field(default_factory=Counter)
    asked_at: list[datetime] = field(default_factory=list)
    signals: int = 0
    updates: list[asyncio.Task[tuple[int, Freshness]]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/plain/token" and self.handle is not None:
            info = activity.info()
            self.asked_at.append(info.started_time)
            self.refreshes[info.workflow_run_id or ""] += 1
            if self.refreshes[info.workflow_run_id or ""] >= REFRESHES_PER_RUN - REFRESHES_SPREAD:
                await self.handle.signal(ConnectionLife.wake)
                self.signals += 1
                # It has arrived before the refresh ends, and with it perhaps the run: this server loses track
                # of an update that arrives while it skips time. Those that come too late are in `tests/workflows`.
                update = await self.handle.start_update(
                    ConnectionLife.ensure_fresh,
                    EnsureFresh(self.generation),
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                )
                self.updates.append(asyncio.create_task(_answer(update, self.generation)))
            self.generation += 1
        await self.app(scope, receive, send)


async def _answer(update: WorkflowUpdateHandle[Freshness], seen: int) -> tuple[int, Freshness]:
    return seen, await update.result()


@pytest.mark.parametrize(
    "days", [3, pytest.param(90, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["three_days", "ninety_days"]
)
async def test_every_refresh_comes_in_time_and_once_and_no_message_is_lost(
    days: int,
    engine: WorkflowEnvironment,
    world_on: Callable[..., Any],
    engine_clock: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    clock = engine_clock(await engine.get_current_time())
    hecklers: list[Heckler] = []

    def wrap(app: Any) -> Heckler:
        hecklers.append(Heckler(app))
        return hecklers[0]

    async with world_on(engine.client, clock, wrap) as world:
        (heckler,) = hecklers
        config_id = await world.configure("plain", "tenant")
        opened = await world.open("/oauth/installs", config_id, "plain", tenant_id="acme")
        await world.consent(opened, "member")
        life_id = (await world.outcome(opened))["installation_id"]
        first = await world.life(life_id)
        heckler.generation = first.generation
        heckler.handle = await world.handle(life_id)

        for _ in range(days):
            await pass_time(engine, timedelta(days=1))
        clock.now = await engine.get_current_time()
        answers = await asyncio.wait_for(asyncio.gather(*heckler.updates), 60)

        row = await world.life(life_id)
        await _the_credential_lives(world, clock)
        await _every_refresh_was_in_time(world, life_id, first.issued_at)
        await _one_per_generation(world, row, first.generation)
        runs = await world.runs(life_id)
        _runs_are_short(runs, heckler)
        _every_signal_was_heard(runs, heckler.signals)
        assert all(fresh.generation > seen for seen, fresh in answers)
        count = row.generation - first.generation
    with capsys.disabled():
        took = time.monotonic() - began
        print(
            f"\n{days} days: {count} refreshes, {len(runs)} runs of at most "
            f"{max(len(run.events) for run in runs)} events, {heckler.signals} signals and {len(answers)} updates "
            f"around their ends, in {took:.0f} s"
        )


async def _the_credential_lives(world: Any, clock: Any) -> None:
    read = await world.api.post("/api/credentials", json={"provider": "plain", "tenant_id": "acme"})
    assert read.status_code == 200, read.text
    headers = {"authorization": f"Bearer {read.json()['credential']}"}
    assert (await world.simulator.get("/plain/whoami", headers=headers)).status_code == 200
    assert datetime.fromisoformat(read.json()["expires_at"]) > clock()


async def _every_refresh_was_in_time(world: Any, life_id: str, issued_at: datetime) -> None:
    async with world.db.reading() as tx:
        query = select(Event).where(Event.life_id == life_id).order_by(col(Event.sequence))
        events = (await tx.exec(query)).all()
    seen = [event.type.removeprefix("installation.") for event in events]
    assert seen[:2] == ["created", "activated"]
    assert set(seen[2:]) == {"refreshed"}, "never degraded, never in doubt"
    for event in events[2:]:
        age = event.created_at - issued_at
        assert HOUR / 2 <= age < HOUR
        issued_at = event.created_at


async def _one_per_generation(world: Any, row: Any, first: int) -> None:
    counters = (await world.grant())["counters"]
    assert counters["refreshes"] == row.generation - first
    assert counters["reuses_outside"] == counters["refused"] == 0
    async with world.db.reading() as tx:
        (credential,) = (await tx.exec(select(Credential).where(Credential.life_id == row.id))).all()
    assert credential.generation == row.generation
    assert row.next_generation == row.generation + 1, "no number was taken and not used"


def _runs_are_short(runs: list[Any], heckler: Heckler) -> None:
    most = REFRESHES_PER_RUN + REFRESHES_SPREAD
    assert len(runs) >= len(heckler.asked_at) // most
    assert max(heckler.refreshes.values()) <= most
    assert max(len(run.events) for run in runs) <= most * EVENTS_OF_A_REFRESH


def _every_signal_was_heard(runs: list[Any], sent: int) -> None:
    """Each is in a history, and the row was read again before the next refresh."""
    heard, owed = 0, False
    for event in (event for run in runs for event in run.events):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            if event.workflow_execution_signaled_event_attributes.signal_name == "wake" and heard < sent + 1:
                heard, owed = heard + 1, True
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            kind = event.activity_task_scheduled_event_attributes.activity_type.name
            assert not (owed and kind == "refresh"), "a wake was forgotten"
            owed = owed and kind != "load"
    assert heard == sent + 1, "the one that opened the session, and those around the ends of runs"
    assert not owed
