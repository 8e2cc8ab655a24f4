"""A provider that is down: who still calls, and how it ends for everybody."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activities.breaker import Released
from activities.holding import TOKEN_UNCHANGED
from activities.messages import Ending
from domain.holds import FIRST_PAUSE, HoldKind
from domain.life import Kind
from tests.activities.outages.steps import (
    TOKEN,
    Told,
    calls,
    connected,
    down,
    endings,
    events_of_configs,
    looked,
    released,
    up,
)

ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ON_ONE
async def test_in_an_outage_nobody_but_the_scout_calls_and_all_are_released_when_it_ends(
    stage: Any, told: Told
) -> None:
    lives = await connected(stage, 18)
    before = await stage.asked(TOKEN)
    await down(stage)
    assert await endings(stage, lives) == {Ending.STUMBLED: 5, Ending.HELD: 13}
    assert await calls(stage, before) == 5
    for scouts in range(1, 3):
        await stage.end_pause("plain")
        assert (await endings(stage, lives))[Ending.STUMBLED] == 1
        assert await calls(stage, before) == 5 + scouts
    assert (await stage.config("plain")).held_until - stage.clock.now == FIRST_PAUSE * 4
    assert await events_of_configs(stage) == []

    await up(stage)
    for n, life in enumerate(lives):
        await stage.set_life(life, next_due_at=stage.clock.now, expires_at=stage.clock.now + timedelta(seconds=90 - n))
    assert not (await looked(stage)).scout, "its pause is not over"
    await stage.end_pause("plain")
    told.tripped.clear()
    assert (await looked(stage)).scout == lives[-1].id, "whose token ends first"
    assert (await stage.refresh(lives[-1])).ending is Ending.CREDENTIALED
    assert [config.config_id for config in told.tripped] == [stage.configs["plain"].id]
    told.woken.clear()
    assert await released(stage) == Released(17)
    by_expiry = lives[-2::-1]
    assert told.woken[:6] == [life.id for life in by_expiry[:6]]
    tenant_of = {life.id: life.tenant_id for life in lives}
    assert all(len({tenant_of[i] for i in told.woken[at : at + 3]}) == 3 for at in range(0, 15, 3))
    # Seven were sent and not answered, by a provider without a replay window: their tokens serve to the end.
    assert await endings(stage, by_expiry) == {Ending.CREDENTIALED: 10, Ending.WAITING: 7}
    stage.clock.advance(minutes=6)
    assert await endings(stage, by_expiry) == {Ending.CREDENTIALED: 17}


async def test_many_that_fail_at_once_make_one_outage(stage: Any, told: Told) -> None:
    lives = await connected(stage, 8)
    await down(stage)
    results = await asyncio.gather(*(stage.refresh(life) for life in lives))
    config = await stage.config("plain")
    assert (config.hold_kind, config.hold_tries) == (HoldKind.OUTAGE, 1)
    assert config.held_until == stage.clock.now + FIRST_PAUSE
    assert len(told.tripped) == 1
    assert {result.ending for result in results} <= {Ending.STUMBLED, Ending.HELD, Ending.RELOAD}


@ON_ONE
async def test_one_life_that_fails_again_and_again_is_no_outage(stage: Any, told: Told) -> None:
    (life,) = await connected(stage, 1)
    await down(stage, status=429)
    assert await endings(stage, [life] * 8) == {Ending.STUMBLED: 8}
    assert (await stage.config("plain")).stumbled == 1


@ON_ONE
@pytest.mark.parametrize("success", ["a refresh", "a consent", "a dead grant"])
async def test_a_success_of_the_app_ends_the_count(stage: Any, told: Told, success: str) -> None:
    *lives, last = await connected(stage, 5)
    await down(stage)
    await endings(stage, lives)
    await up(stage)
    if success == "a consent":
        await stage.connected(Kind.CONNECTION, "plain", user_id="new")
    else:
        if success == "a dead grant":
            await stage.fault(TOKEN, "status", status=400, body={"error": "invalid_grant"})
        await stage.refresh(last)
    config = await stage.config("plain")
    assert (config.stumbled, config.hold_kind, told.tripped) == (0, "", [])


@ON_ONE
async def test_a_limit_that_is_exceeded_holds_all_for_as_long_as_the_provider_asks(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await down(stage, status=429, headers={"retry-after": "70"})
    await endings(stage, lives)
    config = await stage.config("plain")
    assert (config.held_reason, config.held_until) == ("rate_limited", stage.clock.now + timedelta(seconds=70))


@ON_ONE
async def test_a_worker_that_was_too_slow_to_send_makes_no_outage(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)

    async def late(point: str, _life: str) -> None:
        if point == "refresh.after_intent":
            stage.clock.advance(seconds=31)

    slow = replace(stage.deps, reached=late)
    assert Counter([(await stage.refresh(life, slow)).code for life in lives]) == {"unreachable": 6}
    assert (await stage.config("plain")).stumbled == 0


@ON_ONE
async def test_a_scout_that_brings_the_token_we_have_shows_that_the_provider_answers(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await down(stage)
    await endings(stage, lives)
    await up(stage)
    await stage.end_pause("plain")
    scout = lives[-1]
    body = {"access_token": (await stage.secrets(scout)).access, "token_type": "Bearer"}
    await stage.fault(TOKEN, "status", status=200, body=body)
    assert (await stage.refresh(scout)).code == TOKEN_UNCHANGED
    assert (await stage.config("plain")).hold_kind == ""


@ON_ONE
async def test_a_life_that_is_held_before_it_is_due_waits_until_then_at_most(stage: Any, told: Told) -> None:
    """It was asked to refresh early; the release would not wake it."""
    lives = await connected(stage, 6)
    await stage.refresh(lives[-1])
    await down(stage)
    await endings(stage, lives[:5])
    row = await stage.row(lives[-1])
    held = await stage.refresh(row)
    assert held.ending is Ending.HELD
    assert held.not_before <= min(row.next_due_at, stage.clock.now + timedelta(minutes=10))
