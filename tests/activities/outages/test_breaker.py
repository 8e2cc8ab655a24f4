"""What the breaker does between its waits: a scout first, then all, in order."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activities.breaker import BreakerActivities, LookOrder, Released
from activities.ids import config_ids_of
from activities.messages import Ending
from domain.errors import Problem
from tests.activities.outages.steps import Told, connected, down, endings, looked, released

ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ON_ONE
async def test_a_scout_whose_try_is_not_settled_is_followed_by_another(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await down(stage)
    await endings(stage, lives)
    await stage.end_pause("plain")
    stage.clock.advance(minutes=1)
    seen = [await looked(stage, turn) for turn in range(6)]
    assert {look.scout for look in seen} == set(told.woken) == {life.id for life in lives}
    assert {look.next_at for look in seen} == {stage.clock.now + stage.deps.limits.lease}
    assert {(look.kind, look.reason, look.waiting) for look in seen} == {("outage", "server_error", 6)}


@ON_ONE
async def test_where_nobody_is_due_the_breaker_waits_for_who_is_next(stage: Any, told: Told) -> None:
    lives = await connected(stage, 5)
    await down(stage)
    await endings(stage, lives)
    await stage.end_pause("plain")
    soon = stage.clock.now + timedelta(minutes=3)
    for life in lives:
        await stage.set_life(life, next_due_at=soon)
    look = await looked(stage)
    assert (look.scout, look.next_at, told.woken) == ("", soon, [])
    for life in lives:
        await stage.set_life(life, next_due_at=None)
    assert (await looked(stage)).next_at == stage.clock.now + timedelta(minutes=10)


@ON_ONE
async def test_a_release_ends_when_the_config_is_held_again(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.breaker.BATCH", 5)
    lives = await connected(stage, 8)
    await down(stage)

    async def refreshed(life: Any) -> None:
        await stage.refresh(life)

    told.on_wake = refreshed
    assert await released(stage) == Released(5, held=True)
    assert len(set(told.woken)) == 5 < len(lives)


@ON_ONE
async def test_one_life_that_the_engine_refuses_keeps_no_other_from_its_release(stage: Any, told: Told) -> None:
    lives = await connected(stage, 5)
    told.refuses = lambda life: life.id == lives[0].id
    assert await released(stage) == Released(4)
    assert set(told.woken) == {life.id for life in lives[1:]}


@ON_ONE
async def test_a_release_is_tried_again_while_the_engine_refuses_all(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.breaker.REFUSED_IN_A_ROW", 3)
    await connected(stage, 5)
    told.refuses = lambda _life: True
    with pytest.raises(Problem):
        await released(stage)


@ON_ONE
async def test_what_was_refreshed_meanwhile_is_not_woken(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.breaker.BATCH", 2)
    lives = await connected(stage, 4)
    order: list[str] = []

    async def all_of_them(_life: Any) -> None:
        told.on_wake = None
        order.extend([str((await stage.refresh(life)).ending) for life in lives])

    told.on_wake = all_of_them
    assert await released(stage) == Released(2), "the batch that was read, and none behind it"
    assert set(order) == {Ending.CREDENTIALED}


@ON_ONE
async def test_a_look_at_a_config_that_is_free_or_gone_sends_nobody(stage: Any, told: Told) -> None:
    await connected(stage, 1)
    config = config_ids_of(await stage.config("plain"))

    async def no_turn(_provider: str) -> None:
        pass

    acts = BreakerActivities(stage.deps, no_turn)
    free = await acts.look(LookOrder(config))
    assert (free.kind, free.gone) == ("", False)
    assert (await acts.look(LookOrder(replace(config, config_id="cfg_unknown")))).gone
    assert told.woken == []
