"""A hundred connections with day-long tokens through a year of the time-skipping server: real workflows, real vault.

The provider has no replay window: a refresh token that is presented twice kills its grant. Check-ups are weekly.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select
from temporalio.testing import WorkflowEnvironment

from domain.life import Status
from tests.end_to_end.in_process.test_ninety_days import skipping_engine
from tests.time_skipping import another_connection, pass_time
from vault.tables import Credential, Event

DAY = timedelta(days=1)
WEEKLY = 604_800
CONSENTS_AT_ONCE = 5


@pytest.fixture
async def engine() -> AsyncIterator[WorkflowEnvironment]:
    async with skipping_engine() as environment:
        yield environment


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("lives", "days"), [(100, 365)], ids=["a_hundred_for_a_year"])
async def test_every_connection_is_refreshed_in_time_and_once_for_a_whole_year(
    lives: int,
    days: int,
    engine: WorkflowEnvironment,
    world_on: Callable[..., Any],
    engine_clock: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    clock = engine_clock(await engine.get_current_time())
    async with world_on(await another_connection(engine), clock) as world:
        config_id = await world.configure("plain", "tenant")
        await world.api.patch(f"/api/provider-configs/{config_id}", json={"probe_interval_seconds": WEEKLY})
        slots = asyncio.Semaphore(CONSENTS_AT_ONCE)
        await asyncio.gather(*(connect(world, config_id, number, slots) for number in range(lives)))
        for day in range(1, days + 1):
            await pass_time(engine, DAY)
            if day % 73 == 0:
                say(capsys, f"day {day}, {time.monotonic() - began:.0f} s")
        clock.now = await engine.get_current_time()
        counted = await what_happened(world, clock)
        runs = sum([len(await world.runs(life_id)) for life_id in list(await world.lives())[:3]]) / 3
    say(capsys, f"{lives} lives, {days} days: {dict(counted)}, {runs:.0f} runs each, {time.monotonic() - began:.0f} s")
    assert counted["refreshed"] >= lives * days
    assert counted["checked up"] == lives
    assert set(counted) == {"created", "activated", "refreshed", "checked up"}, "never degraded, never in doubt"


async def connect(world: Any, config_id: str, number: int, slots: asyncio.Semaphore) -> None:
    """A tenant of its own, and an account of its own."""
    async with slots:
        person = f"person-{number}"
        await world.admin("PUT", f"accounts/{person}", sites=[])
        opened = await world.open("/oauth/installs", config_id, "plain", tenant_id=f"tenant-{number}")
        await world.consent(opened, person, lifetime=int(DAY.total_seconds()))
        assert (await world.outcome(opened))["status"] == "completed"


async def what_happened(world: Any, clock: Any) -> Counter[str]:
    """Events by their name, and lives whose last check-up is less than eight days old."""
    async with world.db.reading() as tx:
        counted = Counter(kind.partition(".")[2] for kind in (await tx.exec(select(Event.type))).all())
        credentials = {row.life_id: row for row in (await tx.exec(select(Credential))).all()}
    for life in (await world.lives()).values():
        assert life.status == Status.ACTIVE
        assert credentials[life.id].expires_at > clock()
        assert life.next_generation == life.generation + 1, "no number was taken and not used"
        counted["checked up"] += life.probed_at > clock() - timedelta(days=8)
    grants = await world.admin("GET", "grants")
    assert sum(grant["counters"]["reuses_outside"] + grant["counters"]["refused"] for grant in grants) == 0
    assert sum(grant["counters"]["refreshes"] for grant in grants) == counted["refreshed"], "each was sent once"
    return counted


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(f"\n{line}", end="", flush=True)
