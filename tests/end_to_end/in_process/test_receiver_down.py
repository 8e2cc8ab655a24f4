"""A receiver of events that is down holds up nothing: refreshes go on, and when it is back it gets all, in order."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select
from temporalio.testing import WorkflowEnvironment

from tests.activities.delivery.builder import Receiver
from tests.end_to_end.in_process.test_ninety_days import skipping_engine
from tests.time_skipping import pass_time
from vault.tables import Event

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
async def engine() -> AsyncIterator[WorkflowEnvironment]:
    async with skipping_engine() as environment:
        yield environment


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Its address is known, and nobody listens there."""
    receiver = Receiver()
    await receiver.up()
    await receiver.down()
    yield receiver
    await receiver.down()


async def installed(world: Any, config_id: str, tenant: str, person: str) -> str:
    opened = await world.open("/oauth/installs", config_id, "plain", tenant_id=tenant)
    await world.consent(opened, person)
    return str((await world.outcome(opened))["installation_id"])


@pytest.mark.parametrize(
    "hours", [2, pytest.param(48, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["two_hours", "two_days"]
)
async def test_a_receiver_that_is_down_loses_no_event_and_stops_no_refresh(
    hours: int, engine: WorkflowEnvironment, receiver: Receiver, world_on: Callable[..., Any], engine_clock: Any
) -> None:
    clock = engine_clock(await engine.get_current_time())
    async with world_on(engine.client, clock) as world:
        config_id = await world.configure("plain", "tenant")
        url = {"webhook_url": receiver.url, "refreshed": True}
        assert (await world.api.post("/api/webhook-config", json=url)).status_code == 201
        life_id = await installed(world, config_id, "acme", "admin")
        await pass_time(engine, hours * HOUR)
        clock.now = await engine.get_current_time()
        row = await world.life(life_id)
        assert (row.status, row.generation > hours, row.expires_at > clock.now) == ("active", True, True)
        assert receiver.calls == []

        await receiver.up()
        await installed(world, config_id, "globex", "member")  # whose events get through, and take the others along
        await pass_time(engine, 10 * MINUTE)
        async with world.db.reading() as tx:
            query = select(Event.id).where(Event.life_id == life_id).order_by(col(Event.sequence))
            happened = (await tx.exec(query)).all()
    told = [call.told["data"] for call in receiver.calls]
    assert [data["event_id"] for data in told if data["installation_id"] == life_id] == list(happened)
    assert len(happened) >= 2 + hours
