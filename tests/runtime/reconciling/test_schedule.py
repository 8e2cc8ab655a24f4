"""Passes inside the engine: the daily schedule, a worker that starts, and the sweep."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs
from temporalio.client import ScheduleOverlapPolicy
from temporalio.worker import Worker

from activities.guard import Guard
from activities.reconcile import ReconcileActivities, Reconciled
from api.lives import workflow_of
from domain.errors import Problem
from runtime import reconcile_daily
from runtime.pace import Pace
from runtime.sweeper import Sweeper, sweep_for_ever
from tests.runtime.reconciling.place import FAST, HOUR, Place, ended, until, wall_clock
from worker import WORKFLOWS
from workflows.queues import LIFE_QUEUE
from workflows.reconcile import Reconcile


async def test_the_daily_schedule_is_made_once_and_made_anew_when_it_is_missing(place: Place) -> None:
    made = await asyncio.gather(*(reconcile_daily.ensure_schedule(place.client) for _ in range(3)))
    assert Counter(made) == {True: 1, False: 2}
    assert not await reconcile_daily.ensure_schedule(place.client)
    handle = place.client.get_schedule_handle(reconcile_daily.SCHEDULE_ID)
    daily = (await handle.describe()).schedule
    assert daily.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert [interval.every for interval in daily.spec.intervals] == [timedelta(days=1)]
    await handle.delete()
    assert await reconcile_daily.ensure_schedule(place.client)


async def test_a_store_that_lacked_the_schedule_takes_lives_from_then_on(place: Place) -> None:
    life = await place.row()
    with pytest.raises(Problem, match="temporal_unavailable"):
        await place.lives.wake(life)
    await reconcile_daily.ensure_schedule(place.client)
    await place.lives.wake(life)
    assert await place.heard(life) == ["wake"]


async def test_the_schedule_runs_a_pass(place: Place) -> None:
    life = await place.row()
    await reconcile_daily.ensure_schedule(place.client)
    async with place.working():
        await place.client.get_schedule_handle(reconcile_daily.SCHEDULE_ID).trigger()
        await until(lambda: place.lists(workflow_of(life)))


async def test_workers_that_start_together_make_one_pass_whose_history_holds_counts(place: Place) -> None:
    life = await place.row()
    await asyncio.gather(*(reconcile_daily.ask_for_pass(place.client) for _ in range(10)))
    handle = place.client.get_workflow_handle_for(Reconcile.run, reconcile_daily.NOW_ID)
    async with place.working():
        outcome = await handle.result()
    assert outcome == Reconciled(1, 0, found={"not_running": 1}, mended={"not_running": 1}, left={})
    assert life.id not in (await handle.fetch_history()).to_json()
    runs = [found.id async for found in place.client.list_workflows('WorkflowType = "Reconcile"')]
    assert runs == [reconcile_daily.NOW_ID]


async def pass_after_a_new_worker(place: Place, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], datetime]) -> str:
    """Which run of a pass is the last once a worker has begun to sweep. (The engine's lists lag; this does not.)"""
    monkeypatch.setattr("runtime.sweeper.EVERY", timedelta(milliseconds=10))
    swept = asyncio.Event()

    class Told(Sweeper):
        async def sweep(self) -> int:
            swept.set()
            return 0

    sweeping = asyncio.create_task(sweep_for_ever(Told(place.db, place.lives, clock, Pace(FAST)), place.client))
    async with asyncio.timeout(30):
        await swept.wait()
    await ended(sweeping)
    return str((await place.client.get_workflow_handle(reconcile_daily.NOW_ID).describe()).run_id)


async def test_a_worker_asks_for_no_pass_within_ten_minutes_of_the_last(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile_daily.ensure_schedule(place.client)
    first = await pass_after_a_new_worker(place, monkeypatch, wall_clock)
    async with place.working():
        await place.client.get_workflow_handle(reconcile_daily.NOW_ID).result()
    assert await pass_after_a_new_worker(place, monkeypatch, wall_clock) == first
    assert await pass_after_a_new_worker(place, monkeypatch, lambda: wall_clock() + timedelta(minutes=11)) != first


async def test_a_pass_that_was_ended_by_hand_is_asked_for_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await reconcile_daily.ensure_schedule(place.client)
    await reconcile_daily.ask_for_pass(place.client)
    handle = place.client.get_workflow_handle(reconcile_daily.NOW_ID)
    ended_by_hand = (await handle.describe()).run_id
    await handle.terminate()
    assert await pass_after_a_new_worker(place, monkeypatch, wall_clock) != ended_by_hand


async def test_a_worker_that_ends_gives_its_pass_to_another(place: Place) -> None:
    begun, ends = asyncio.Event(), asyncio.Event()

    async def long() -> Reconciled:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.set()
        raise AssertionError

    async def short() -> Reconciled:
        return Reconciled(living=7)

    def worker(run: Callable[[], Awaitable[Reconciled]]) -> Worker:
        acts = ReconcileActivities(run)
        return Worker(
            place.client,
            task_queue=LIFE_QUEUE,
            workflows=WORKFLOWS,
            activities=[acts.reconcile],
            interceptors=[Guard()],
            graceful_shutdown_timeout=HOUR,  # it is not waited for
        )

    await reconcile_daily.ask_for_pass(place.client)
    async with asyncio.timeout(30), worker(long):
        await begun.wait()
    assert ends.is_set()
    async with worker(short):
        assert (await place.client.get_workflow_handle(reconcile_daily.NOW_ID).result())["living"] == 7


async def test_a_store_that_was_lost_is_noticed_by_the_sweep_and_its_lives_are_started(place: Place) -> None:
    """Nothing is known to this engine: neither our schedule nor our search attributes."""
    life = await place.row()
    sweeper = Sweeper(place.db, place.lives, wall_clock, Pace(FAST))
    async with place.working():
        sweeping = asyncio.create_task(sweep_for_ever(sweeper, place.client))
        await until(lambda: place.lists(workflow_of(life)))
        await ended(sweeping)
    assert (await place.client.get_schedule_handle(reconcile_daily.SCHEDULE_ID).describe()).id


async def test_the_sweep_wakes_what_is_overdue_and_what_is_to_be_probed(place: Place) -> None:
    late = wall_clock() - timedelta(minutes=6)
    overdue, probe = await place.row("overdue", next_due_at=late), await place.row("probe", probe_at=late)
    await place.row("well")
    await place.run()
    with capture_logs() as lines:
        assert await Sweeper(place.db, place.lives, wall_clock, Pace(FAST)).sweep() == 2
    assert [line["event"] for line in lines] == ["signalled again"]
    assert (await place.heard(overdue), await place.heard(probe)) == (["wake", "wake"], ["wake", "wake"])


async def test_a_sweep_that_fails_is_made_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.sweeper.EVERY", timedelta(milliseconds=10))

    class Stubborn(Sweeper):
        tries = 0

        async def sweep(self) -> int:
            self.tries += 1
            raise RuntimeError("anything at all")

    sweeper = Stubborn(place.db, place.lives, wall_clock, Pace(FAST))
    with capture_logs() as lines:
        sweeping = asyncio.create_task(sweep_for_ever(sweeper, place.client))

        async def again() -> bool:
            return sweeper.tries >= 3

        await until(again)
        await ended(sweeping)
    assert {line["error"] for line in lines} == {"RuntimeError"}
