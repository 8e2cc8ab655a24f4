"""Continue-as-new: runs stay short, and no message is lost between two of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from domain.life import AttemptState
from workflows.life import REFRESHES_PER_RUN, REFRESHES_SPREAD, ConnectionLife
from workflows.messages import EnsureFresh, SessionRef, Settlement

NewLife = Callable[..., Awaitable[Any]]
# A refresh by timer is eleven events; a dozen of them, a reading and the frame of a run.
MOST_EVENTS = (REFRESHES_PER_RUN + REFRESHES_SPREAD) * 11 + 20


async def test_runs_stay_short_however_long_a_life(new_life: NewLife) -> None:
    life = await new_life()
    await life.sleep(days=3)
    await life.until(lambda v: v.generation > 80)
    runs = await life.runs()
    assert len(runs) >= 80 // (REFRESHES_PER_RUN + REFRESHES_SPREAD)
    assert max(len(run.events) for run in runs) <= MOST_EVENTS
    refreshes = [sum(_is_refresh(event) for event in run.events) for run in runs[:-1]]
    assert all(abs(count - REFRESHES_PER_RUN) <= REFRESHES_SPREAD for count in refreshes)
    assert len(set(refreshes)) > 1, "lives that began together do not all continue together"


def _is_refresh(event: Any) -> bool:
    return bool(event.activity_task_scheduled_event_attributes.activity_type.name == "refresh")


async def test_the_state_is_carried_and_the_row_is_not_read_again(new_life: NewLife, attempt: Any) -> None:
    resting = attempt(state=AttemptState.AWAITING_SELECTION, minutes=60 * 24 * 30)
    life = await new_life(attempts=[resting])
    await life.sleep(days=1)
    view = await life.until(lambda v: v.generation > 20)
    assert view.open_attempts == 1
    assert len(await life.runs()) > 1
    assert len(life.script.named("load")) == 1
    generations = [call.order.generation for call in life.script.named("refresh")]
    assert generations == list(range(1, len(generations) + 1)), "one refresh for each generation"


async def test_every_message_around_every_continuation_is_heard(new_life: NewLife) -> None:
    """Signals and updates are sent as fast as they go, while forced refreshes drive the life through its runs."""
    life = await new_life(lifetime=timedelta(days=300))
    await life.until(lambda v: v.generation == 1)
    busy = True

    async def refresh_all_the_time() -> None:
        nonlocal busy
        while len(life.script.named("refresh")) < 4 * REFRESHES_PER_RUN:
            await life.fresh()
        busy = False

    async def call_back_all_the_time() -> list[SessionRef]:
        sent: list[SessionRef] = []
        while busy:
            sent.append(SessionRef(f"ses_{len(sent)}"))
            await life.handle.signal(ConnectionLife.authorization_returned, sent[-1])
            assert isinstance(await life.ask(ConnectionLife.settled, sent[-1]), Settlement)
        return sent

    async with asyncio.timeout(60):
        _, sent = await asyncio.gather(refresh_all_the_time(), call_back_all_the_time())
    for session in sent:
        assert (await life.ask(ConnectionLife.settled, session)).settled
    worked_on = [call.order.session_id for call in life.script.named("advance_attempt")]
    assert sorted(set(worked_on)) == sorted({session.session_id for session in sent})
    assert len(await life.runs()) >= 4


async def test_who_waits_is_answered_and_does_not_hold_the_continuation_up(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(lifetime=timedelta(days=300), attempts=[attempt(minutes=60)])
    await life.until(lambda v: v.open_attempts == 1)
    asked = await life.begin(ConnectionLife.settled, SessionRef("ses_1"))
    for _ in range(REFRESHES_PER_RUN + REFRESHES_SPREAD):
        await life.fresh()
    assert await asyncio.wait_for(asked.result(), 10) == Settlement(settled=False, continuing=True)
    assert len(await life.runs()) == 2


async def test_what_comes_during_the_last_refresh_of_a_run_is_done_in_the_next(new_life: NewLife, attempt: Any) -> None:
    """Every refresh is held while a message of each kind arrives, so the last one of a run is too."""
    life = await new_life(lifetime=timedelta(days=300))
    for held in range(1, 2 * (REFRESHES_PER_RUN + REFRESHES_SPREAD)):
        life.script.gates["refresh"] = gate = asyncio.Event()
        generation = 2 * held - 1
        await life.until(lambda v: v.generation == generation)  # noqa: B023 (it is awaited at once)
        readings = len(life.script.named("load"))
        asked = await life.begin(ConnectionLife.ensure_fresh, EnsureFresh(generation))
        await life.called("refresh", held)
        life.script.row = replace(life.script.row, attempts=[attempt(f"ses_{held}", minutes=10_000)])
        await life.handle.signal(ConnectionLife.wake)
        await life.handle.signal(ConnectionLife.authorization_returned, SessionRef(f"ses_{held}"))
        gate.set()
        assert (await asked.result()).generation > generation
        await life.called("load", readings + 1)
        assert (await life.called("advance_attempt", held)).order.session_id == f"ses_{held}"
    assert len(await life.runs()) >= 2
