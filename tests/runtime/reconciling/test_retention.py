"""Retention inside the engine: its schedule, and that a worker which ends hands it on."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.client import ScheduleOverlapPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from activities import retention
from activities.deps import Deps, Limits
from activities.guard import Guard
from activities.retention import RetentionActivities
from domain.life import AttemptState
from runtime import sweeper
from runtime.daily import RETENTION, ensure_retention
from runtime.pace import Pace
from runtime.sweeper import Sweeper, sweep_for_ever
from tests.runtime.reconciling.place import FAST, HOUR, Place, ended, until, wall_clock
from vault.tables import AuthSession
from workflows.queues import LIFE_QUEUE
from workflows.retention import Retention

KEPT = timedelta(days=7)


async def over(place: Place, after: timedelta) -> AuthSession:
    """A session that ended so long ago."""
    life, then = await place.row(user=str(after.days)), wall_clock() - after
    session = AuthSession(
        id=f"sess_{after.days}", workspace_id="default", life_id=life.id, kind=life.kind, provider_id=life.provider_id,
        provider_config_id=life.provider_config_id, tenant_id="acme", state=AttemptState.FAILED, redirect_url="",
        oauth_redirect_url="", opened_by="secret", created_at=then, expires_at=then, finished_at=then,
    )  # fmt: skip
    async with place.db.transaction() as tx:
        tx.add(session)
    return session


async def start(place: Place) -> Any:
    return await place.client.start_workflow(Retention.run, id="retention", task_queue=LIFE_QUEUE)


async def test_the_schedule_is_made_once_and_anew_where_it_is_missing(place: Place) -> None:
    await asyncio.gather(*(ensure_retention(place.client) for _ in range(3)))
    handle = place.client.get_schedule_handle(RETENTION)
    daily = (await handle.describe()).schedule
    assert daily.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert [interval.every for interval in daily.spec.intervals] == [timedelta(days=1)]
    assert daily.action.execution_timeout < timedelta(days=1), "or the next day's would find it running"
    await handle.delete()
    await ensure_retention(place.client)
    assert (await handle.describe()).id == RETENTION


async def test_a_worker_that_sweeps_sees_to_the_schedule(place: Place) -> None:
    sweeping = asyncio.create_task(sweep_for_ever(Sweeper(place.db, place.lives, wall_clock, Pace(FAST)), place.client))

    async def scheduled() -> bool:
        return RETENTION in [found.id async for found in await place.client.list_schedules()]

    await until(scheduled)
    await ended(sweeping)


async def test_what_is_over_goes_when_the_schedule_says_so_and_the_history_holds_counts(place: Place) -> None:
    old, young = await over(place, KEPT + HOUR), await over(place, KEPT - HOUR)
    await ensure_retention(place.client)

    async def left() -> list[str]:
        async with place.db.reading() as tx:
            return [row.id for row in (old, young) if await tx.get(AuthSession, row.id)]

    async def gone() -> bool:
        return await left() == [young.id]

    async with place.working():
        await place.client.get_schedule_handle(RETENTION).trigger()
        await until(gone)
        again = await (await start(place)).result()
    assert set(again.rows.values()) == {0}


async def test_an_engine_that_takes_no_such_schedule_holds_up_no_sweep(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_client: Any) -> None:
        raise RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(sweeper, "ensure_retention", refused)
    monkeypatch.setattr(sweeper, "EVERY", timedelta(milliseconds=10))
    swept = asyncio.Event()

    class Told(Sweeper):
        async def sweep(self) -> int:
            swept.set()
            return 0

    with capture_logs() as said:
        sweeping = asyncio.create_task(
            sweep_for_ever(Told(place.db, place.lives, wall_clock, Pace(FAST)), place.client)
        )

        async def twice() -> bool:
            return len([line for line in said if line["event"].startswith("retention is not scheduled")]) > 1

        await until(twice)
    assert swept.is_set()
    await ended(sweeping)


async def test_a_worker_that_ends_gives_it_to_another(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def long(*_: Any) -> Mapping[str, int]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    nowhere: Any = None
    acts = RetentionActivities(Deps(place.db, place.sealer, {}, nowhere, wall_clock, Limits()))

    def worker() -> Worker:
        return Worker(
            place.client,
            task_queue=LIFE_QUEUE,
            workflows=[Retention],
            activities=[acts.forget],
            interceptors=[Guard()],
            graceful_shutdown_timeout=HOUR,  # it is not waited for
        )

    handle = await start(place)
    with monkeypatch.context() as patched:
        patched.setattr(retention, "forget", long)
        async with asyncio.timeout(30), worker():
            await begun.wait()
    async with worker():
        assert (await handle.result()).rows["sessions"] == 0
