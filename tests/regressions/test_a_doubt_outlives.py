"""A send in doubt is finished inside the window, whatever the workflow forgot: only the ledger remembers it."""

from datetime import datetime, timedelta
from typing import Any

from activities.ids import ids_of
from activities.load import load
from activities.messages import Ending
from domain.life import Held, LifeState, Stumbled
from domain.transitions import apply
from domain.wakeup import Step, next_wakeup

WINDOW = timedelta(seconds=570)


async def next_refresh(stage: Any, life: Any, state: LifeState) -> datetime:
    """When a workflow that knows `state` refreshes, once it has read the row."""
    read = apply(state, await load(stage.deps, ids_of(life)), stage.clock.now)
    wakeup = next_wakeup(read, stage.clock.now)
    assert wakeup.step is Step.REFRESH
    assert wakeup.at is not None
    return wakeup.at


async def lose_an_answer(stage: Any, life: Any) -> None:
    """Of a refresh that somebody asked for, long before it was due."""
    await stage.fault("token", "drop_after")
    assert (await stage.refresh(life)).ending is Ending.STUMBLED


async def test_a_workflow_started_anew_finishes_what_was_in_doubt(stage: Any) -> None:
    """The engine's store was lost within the window; the next refresh came on schedule, when the window was over."""
    life = await stage.connected()
    await lose_an_answer(stage, life)
    assert await next_refresh(stage, life, LifeState()) < stage.clock.now + WINDOW


async def test_a_hold_does_not_make_one_forget_what_is_in_doubt(stage: Any) -> None:
    """The worker died with the answer in hand, the second try met a refused app, and nothing was tried till expiry."""
    life = await stage.connected()
    known = apply(LifeState(), await load(stage.deps, ids_of(life)), stage.clock.now)
    await lose_an_answer(stage, life)
    held = apply(known, Held(stage.clock.now + timedelta(minutes=1), "client_refused"), stage.clock.now)
    wakeup = next_wakeup(held, stage.clock.now)
    assert wakeup.at is not None
    assert wakeup.at < stage.clock.now + WINDOW


async def test_reading_the_row_again_keeps_the_next_try(stage: Any) -> None:
    """A wake-up signal reset the back-off of a refresh in doubt to the schedule."""
    life = await stage.connected()
    known = apply(LifeState(), await load(stage.deps, ids_of(life)), stage.clock.now)
    await lose_an_answer(stage, life)
    stumbled = apply(known, Stumbled("no_answer"), stage.clock.now)
    assert await next_refresh(stage, life, stumbled) < stage.clock.now + WINDOW
