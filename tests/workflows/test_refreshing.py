"""A life that is active: refreshed on time, backing off, held, dead, repaired."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from activities.messages import Ending, RefreshResult
from workflows.life import ConnectionLife
from workflows.messages import EnsureFresh, Freshness, SessionRef

NewLife = Callable[..., Awaitable[Any]]
MINUTE = timedelta(minutes=1)


async def test_a_life_is_refreshed_on_time_again_and_again(new_life: NewLife) -> None:
    life = await new_life()
    await life.until(lambda v: v.generation == 1)
    await life.sleep(hours=5)
    calls = life.script.named("refresh")
    assert [call.order.generation for call in calls] == list(range(1, len(calls) + 1))
    assert 5 <= len(calls) <= 7
    for before, after in itertools.pairwise(calls):
        assert 44 * MINUTE <= after.at - before.at <= 50 * MINUTE + timedelta(seconds=5)


async def test_jitter_spreads_lives_that_began_together(new_life: NewLife) -> None:
    lives = [await new_life() for _ in range(4)]
    views = [await life.until(lambda v: v.generation == 1) for life in lives]
    assert len({view.next_at for view in views}) == 4


async def test_a_failing_provider_is_asked_ever_more_rarely_and_the_life_stays_active(new_life: NewLife) -> None:
    def prepare(script: Any) -> None:
        script.refreshes.extend([RefreshResult(Ending.STUMBLED, code="unavailable")] * 4)

    life = await new_life(prepare=prepare)
    life.script.gates["refresh"] = gate = asyncio.Event()
    asked = asyncio.create_task(life.fresh())
    await life.called("refresh")
    gate.set()
    assert (await asked).pending
    view = await life.until(lambda v: v.failures >= 1)
    assert (view.status, view.health, view.last_error, view.generation) == ("active", "degraded", "unavailable", 1)
    await life.sleep(minutes=1)
    await life.called("refresh", 5)
    calls = life.script.named("refresh")
    pauses = [(b.at - a.at).total_seconds() for a, b in itertools.pairwise(calls)]
    assert len(pauses) == 4
    for pause, doubled in zip(pauses, (1, 2, 4, 8), strict=True):
        assert doubled * 0.75 <= pause <= doubled + 2
    view = await life.until(lambda v: v.generation == 2)
    assert (view.health, view.failures, view.last_error, view.generation) == ("ok", 0, "", 2)


async def test_retry_after_is_honoured(new_life: NewLife) -> None:
    def limited(_: Any, __: Any, at: datetime) -> RefreshResult:
        return RefreshResult(Ending.STUMBLED, code="rate_limited", not_before=at + 7 * MINUTE)

    life = await new_life(prepare=lambda script: script.refreshes.append(limited))
    assert await life.fresh() == Freshness(1, pending=True)
    await life.sleep(minutes=6)
    assert len(life.script.named("refresh")) == 1
    await life.sleep(minutes=2)
    await life.called("refresh", 2)
    first, second = life.script.named("refresh")
    assert 7 * MINUTE <= second.at - first.at < 8 * MINUTE


async def test_a_held_config_is_waited_for_and_no_connection_is_blamed(new_life: NewLife) -> None:
    def held(_: Any, __: Any, at: datetime) -> RefreshResult:
        return RefreshResult(Ending.HELD, code="client_refused", not_before=at + MINUTE)

    life = await new_life(lifetime=MINUTE, prepare=lambda script: script.refreshes.append(held))
    assert (await life.fresh()).pending
    view = await life.view()
    assert (view.status, view.health, view.failures) == ("active", "ok", 0)
    assert view.held_until is not None
    asked = await life.begin(ConnectionLife.ensure_fresh, EnsureFresh(1))
    await life.sleep(seconds=20)
    assert (await asked.result()).pending, "it is answered within twenty seconds, and nobody asks through a hold"
    assert len(life.script.named("refresh")) == 1
    await life.sleep(seconds=41)
    view = await life.until(lambda v: v.generation >= 2)
    assert view.held_until is None
    first, second, *_ = life.script.named("refresh")
    assert second.at - first.at >= MINUTE


async def test_a_dead_grant_needs_the_user_and_nothing_is_tried_until_then(new_life: NewLife) -> None:
    life = await new_life(prepare=lambda s: s.refreshes.append(RefreshResult(Ending.REFUSED, code="grant_revoked")))
    answer = await asyncio.wait_for(life.fresh(), 5)
    assert answer == Freshness(1, pending=False), "waiting cannot help"
    view = await life.view()
    assert (view.status, view.reason, view.next_step, view.next_at) == (
        "needs_reauth",
        "grant_revoked",
        "wait",
        None,
    )
    await life.sleep(days=30)
    assert await life.fresh() == Freshness(1, pending=False)
    assert len(life.script.named("refresh")) == 1


async def test_a_new_consent_repairs_it_under_the_same_id(new_life: NewLife) -> None:
    life = await new_life(prepare=lambda s: s.refreshes.append(RefreshResult(Ending.REFUSED, code="grant_revoked")))
    await life.fresh()
    await life.handle.signal(ConnectionLife.authorization_returned, SessionRef("ses_repair"))
    view = await life.until(lambda v: v.status == "active")
    assert (view.generation, view.reason, view.next_step) == (2, "", "refresh")
    await life.sleep(hours=1)
    assert life.script.named("refresh")[-1].order.generation == 2


async def test_rows_that_stay_at_odds_are_read_again_without_haste(new_life: NewLife) -> None:
    life = await new_life(prepare=lambda s: s.refreshes.extend([RefreshResult(Ending.RELOAD)] * 100))
    await life.fresh()
    await life.sleep(seconds=10)
    await life.called("refresh", 3)
    assert len(life.script.named("refresh")) <= 14


async def test_a_worker_whose_clock_lags_behind_is_not_asked_in_a_circle(new_life: NewLife) -> None:
    def leased(_: Any, __: Any, at: datetime) -> RefreshResult:
        return RefreshResult(Ending.WAITING, code="in_doubt", not_before=at - MINUTE)

    life = await new_life(lifetime=timedelta(seconds=100), prepare=lambda s: s.refreshes.extend([leased] * 1000))
    await life.sleep(seconds=95)
    await life.called("refresh", 10)
    assert len(life.script.named("refresh")) <= 40


async def test_an_activity_that_tells_nothing_is_a_moments_failure(new_life: NewLife) -> None:
    def breaks(*_: Any) -> RefreshResult:
        raise ApplicationError("OSError in refresh", non_retryable=True)

    life = await new_life(prepare=lambda script: script.refreshes.append(breaks))
    assert (await life.fresh()).pending
    view = await life.view()
    assert (view.status, view.health, view.last_error) == ("active", "degraded", "no_worker_result")
    await life.sleep(seconds=5)
    await life.until(lambda v: v.generation == 2)


class TestEnsureFresh:
    async def test_a_newer_generation_than_the_one_seen_is_success_at_once(self, new_life: NewLife) -> None:
        life = await new_life(7)
        await life.until(lambda v: v.generation == 7)
        assert await life.ask(ConnectionLife.ensure_fresh, EnsureFresh(6)) == Freshness(7)
        assert life.script.named("refresh") == []

    async def test_a_run_that_just_began_reads_its_row_before_it_answers(self, new_life: NewLife) -> None:
        life = await new_life(7)
        assert await life.ask(ConnectionLife.ensure_fresh, EnsureFresh(7)) == Freshness(8)

    async def test_any_number_of_callers_share_one_refresh(self, new_life: NewLife) -> None:
        life = await new_life()
        await life.until(lambda v: v.generation == 1)
        life.script.gates["refresh"] = gate = asyncio.Event()
        asked = [asyncio.create_task(life.ask(ConnectionLife.ensure_fresh, EnsureFresh(1))) for _ in range(8)]
        await life.called("refresh")
        gate.set()
        assert await asyncio.gather(*asked) == [Freshness(2)] * 8
        assert len(life.script.named("refresh")) == 1

    async def test_a_forced_refresh_comes_before_the_routine_ones(self, new_life: NewLife) -> None:
        life = await new_life()
        await life.fresh()
        await life.sleep(hours=1)
        urgencies = [
            event.activity_task_scheduled_event_attributes.priority.priority_key
            for history in await life.runs()
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name == "refresh"
        ]
        assert urgencies[:2] == [1, 3]
