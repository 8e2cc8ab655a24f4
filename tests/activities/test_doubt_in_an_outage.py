"""A refresh whose answer was lost is finished during an outage too: the provider's replay window does not wait."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from activities.ids import ids_of
from activities.load import load
from activities.messages import Ending
from domain.holds import HoldKind
from vault.tables import ProviderConfig

ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def in_doubt(stage: Any) -> Any:
    """Its refresh token was rotated at the provider, and the answer lost."""
    life = await stage.connected()
    stage.clock.advance(minutes=55)
    await stage.fault("token", "drop_after")
    assert (await stage.refresh(life)).ending is Ending.STUMBLED
    return life


async def hold(stage: Any, kind: HoldKind = HoldKind.OUTAGE) -> None:
    until = stage.clock.now + timedelta(minutes=5)
    async with stage.deps.db.transaction() as tx:
        held = {"held_until": until, "held_reason": "server_error", "hold_kind": kind.value}
        await tx.exec(update(ProviderConfig).values(**held))


async def test_inside_the_window_it_is_sent_again_although_the_config_is_held(stage: Any) -> None:
    life = await in_doubt(stage)
    await hold(stage)
    stage.clock.advance(seconds=31)
    assert (await load(stage.deps, ids_of(life))).held_until is None
    result = await stage.refresh(life)
    assert result.ending is Ending.CREDENTIALED
    assert (await stage.grant())["alive"]
    assert (await stage.config("jira")).hold_kind == "", "the provider answers again"


@ON_ONE
async def test_after_the_window_it_waits_as_the_others_do(stage: Any) -> None:
    life = await in_doubt(stage)
    stage.clock.advance(seconds=580)
    await hold(stage)
    assert (await load(stage.deps, ids_of(life))).held_until is not None
    assert (await stage.refresh(life)).ending is Ending.HELD


@ON_ONE
async def test_an_app_that_is_refused_settles_no_doubt(stage: Any) -> None:
    life = await in_doubt(stage)
    await hold(stage, HoldKind.MISCONFIGURED)
    stage.clock.advance(seconds=31)
    assert (await stage.refresh(life)).ending is Ending.HELD


@ON_ONE
async def test_what_is_in_no_doubt_waits(stage: Any) -> None:
    life = await stage.connected()
    stage.clock.advance(minutes=55)
    await hold(stage)
    asked = await stage.asked("token")
    assert (await stage.refresh(life)).ending is Ending.HELD
    assert await stage.asked("token") == asked
