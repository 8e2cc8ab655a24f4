"""Attempts at consent on a life: accepted, waiting for a person, failed, closed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.messages import AttemptResult, Ending
from domain.life import AttemptState, Loaded, Status
from workflows.life import ConnectionLife
from workflows.messages import SessionRef, Settlement

NewLife = Callable[..., Awaitable[Any]]
SES = SessionRef("ses_1")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = AttemptResult(Ending.MOVED, AttemptState.FAILED, LONG_AGO, code="no_site")


async def test_a_callback_makes_a_life_active_and_its_caller_learns_of_it(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(0, attempts=[attempt()])
    view = await life.until(lambda v: v.open_attempts == 1)
    assert (view.status, view.next_step) == ("pending", "close_attempt")
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    assert await life.ask(ConnectionLife.settled, SES) == Settlement(settled=True)
    view = await life.view()
    assert (view.status, view.generation, view.open_attempts, view.next_step) == ("active", 1, 0, "refresh")


async def test_a_callback_that_starts_the_workflow_is_worked_on(new_life: NewLife, attempt: Any) -> None:
    """As after an engine that was lost: nobody has heard of the session, the row says that it returned."""
    life = await new_life(0, attempts=[attempt(state=AttemptState.EXCHANGING)], returned=["ses_1"])
    assert await life.ask(ConnectionLife.settled, SES) == Settlement(settled=True)
    assert (await life.view()).status == "active"


async def test_a_callback_signalled_twice_is_worked_on_once_more_at_most(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(0, attempts=[attempt()])
    for _ in range(5):
        await life.handle.signal(ConnectionLife.authorization_returned, SES)
    await life.until(lambda v: v.status == "active")
    await life.ask(ConnectionLife.settled, SES)
    assert len(life.script.named("advance_attempt")) == 1


async def test_a_failed_attempt_on_a_living_connection_changes_nothing(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(4, attempts=[attempt()], prepare=lambda s: s.attempts.append(FAILED))
    before = await life.until(lambda v: v.generation == 4)
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    assert (await life.ask(ConnectionLife.settled, SES)).settled
    after = await life.view()
    assert (after.status, after.generation, after.expires_at, after.open_attempts) == (
        "active",
        4,
        before.expires_at,
        0,
    )


async def test_a_life_that_was_never_active_ends_with_its_last_attempt(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(0, attempts=[attempt()], prepare=lambda s: s.attempts.append(FAILED))
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    await asyncio.wait_for(life.handle.result(), 20)
    assert (await life.view()).status == "pending"


async def test_a_choice_among_sites_is_waited_for_and_gone_on_with(new_life: NewLife, attempt: Any) -> None:
    waiting = attempt(state=AttemptState.AWAITING_SELECTION, minutes=60)
    asks = AttemptResult(Ending.MOVED, AttemptState.AWAITING_SELECTION, waiting.deadline)
    life = await new_life(0, attempts=[attempt()], prepare=lambda s: s.attempts.append(asks))
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    assert (await life.ask(ConnectionLife.settled, SES)).settled, "it rests: a person has to choose"
    view = await life.view()
    assert (view.status, view.open_attempts, view.next_step, view.next_at) == (
        "pending",
        1,
        "close_attempt",
        waiting.deadline,
    )
    assert (await life.ask(ConnectionLife.choose_site, SES)).settled
    assert (await life.view()).status == "active"
    assert len(life.script.named("advance_attempt")) == 2


async def test_a_choice_made_before_the_workflow_knows_of_the_question_is_not_lost(
    new_life: NewLife, attempt: Any
) -> None:
    """The row asks as soon as the activity commits; its result reaches the workflow a moment later."""
    waiting = attempt(state=AttemptState.AWAITING_SELECTION, minutes=60)
    asks = AttemptResult(Ending.MOVED, AttemptState.AWAITING_SELECTION, waiting.deadline)
    life = await new_life(0, attempts=[attempt()], prepare=lambda s: s.attempts.append(asks))
    life.script.gates["advance_attempt"] = gate = asyncio.Event()
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    await life.called("advance_attempt")
    chosen = await life.begin(ConnectionLife.choose_site, SES)
    life.script.row = replace(life.script.row, attempts=[waiting], returned=["ses_1"])
    gate.set()
    assert (await asyncio.wait_for(chosen.result(), 10)).settled
    assert (await life.view()).status == "active"
    assert len(life.script.named("advance_attempt")) == 2


async def test_a_confirmation_of_the_user_is_waited_for(new_life: NewLife, attempt: Any) -> None:
    waiting = attempt(state=AttemptState.PENDING_VERIFICATION, minutes=30)
    asks = AttemptResult(Ending.MOVED, AttemptState.PENDING_VERIFICATION, waiting.deadline)
    life = await new_life(0, attempts=[attempt()], prepare=lambda s: s.attempts.append(asks))
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    assert (await life.ask(ConnectionLife.settled, SES)).settled
    assert (await life.view()).next_at == waiting.deadline
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    assert (await life.ask(ConnectionLife.settled, SES)).settled
    assert (await life.view()).status == "active"


async def test_an_attempt_nobody_finishes_is_closed_at_its_end_and_not_before(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(3, lifetime=timedelta(days=30), attempts=[attempt(minutes=15)])
    await life.until(lambda v: v.open_attempts == 1)
    await life.sleep(minutes=14)
    assert life.script.named("close_attempt") == []
    await life.sleep(minutes=2)
    view = await life.until(lambda v: v.open_attempts == 0)
    assert (view.status, view.generation) == ("active", 3)
    assert life.script.named("close_attempt")[0].order.session_id == "ses_1"


async def test_a_callback_that_came_before_the_end_is_worked_on_although_nobody_signalled_it(
    new_life: NewLife, attempt: Any
) -> None:
    open_ = attempt(minutes=15)
    came = AttemptResult(Ending.RELOAD, AttemptState.EXCHANGING, open_.deadline)
    life = await new_life(0, attempts=[open_], prepare=lambda s: s.closings.append(came))
    await life.until(lambda v: v.open_attempts == 1)
    life.script.row = replace(
        life.script.row, attempts=[replace(open_, state=AttemptState.EXCHANGING)], returned=["ses_1"]
    )
    await life.sleep(minutes=16)
    await life.until(lambda v: v.status == "active")
    assert [call.name for call in life.script.calls] == ["load", "close_attempt", "load", "advance_attempt"]


async def test_an_attempt_that_stumbles_is_tried_again_and_the_life_is_not_degraded(
    new_life: NewLife, attempt: Any
) -> None:
    stumbles = AttemptResult(Ending.STUMBLED, AttemptState.EXCHANGING, attempt().deadline, code="unavailable")
    life = await new_life(2, attempts=[attempt()], prepare=lambda s: s.attempts.extend([stumbles] * 3))
    await life.until(lambda v: v.open_attempts == 1)
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    await life.called("advance_attempt")
    view = await life.view()
    assert (view.status, view.health, view.failures) == ("active", "ok", 0)
    await life.sleep(seconds=30)
    await life.called("advance_attempt", 4)
    await life.until(lambda v: v.generation == 3)


async def test_several_attempts_run_beside_each_other(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(0, attempts=[attempt("ses_1"), attempt("ses_2", minutes=5)])
    await life.until(lambda v: v.open_attempts == 2)
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    await life.until(lambda v: v.status == "active")
    view = await life.view()
    assert (view.open_attempts, view.next_step) == (1, "close_attempt")
    await life.sleep(minutes=6)
    view = await life.until(lambda v: v.open_attempts == 0)
    assert (view.status, view.next_step) == ("active", "refresh")


async def test_an_attempt_that_takes_too_long_is_answered_as_unsettled(new_life: NewLife, attempt: Any) -> None:
    stumbles = AttemptResult(Ending.STUMBLED, AttemptState.EXCHANGING, attempt().deadline, code="unavailable")
    life = await new_life(0, attempts=[attempt()], prepare=lambda s: s.attempts.extend([stumbles] * 50))
    await life.handle.signal(ConnectionLife.authorization_returned, SES)
    asked = await life.begin(ConnectionLife.settled, SES)
    began = await life.now()
    await life.sleep(seconds=20)
    assert await asked.result() == Settlement(settled=False)
    assert await life.now() - began < timedelta(seconds=25)


async def test_a_session_nobody_knows_has_come_to_rest(new_life: NewLife) -> None:
    life = await new_life()
    assert await life.ask(ConnectionLife.settled, SessionRef("ses_unknown")) == Settlement(settled=True)


class TestTheRow:
    async def test_a_wake_makes_the_row_be_read(self, new_life: NewLife) -> None:
        life = await new_life(1)
        await life.until(lambda v: v.generation == 1)
        life.script.grant(9, await life.now())
        await life.handle.signal(ConnectionLife.wake)
        await life.until(lambda v: v.generation == 9)

    async def test_a_wake_while_the_row_is_being_read_makes_it_be_read_again(
        self, new_life: NewLife, attempt: Any
    ) -> None:
        gate = asyncio.Event()
        life = await new_life(1, prepare=lambda s: s.gates.update(load=gate))
        await life.called("load")
        life.script.row = replace(life.script.row, attempts=[attempt()])
        await life.handle.signal(ConnectionLife.wake)
        gate.set()
        await life.until(lambda v: v.open_attempts == 1)

    async def test_a_row_that_is_gone_ends_its_workflow(self, new_life: NewLife) -> None:
        life = await new_life(1)
        await life.until(lambda v: v.generation == 1)
        life.script.row = Loaded(Status.REVOKED)
        await life.handle.signal(ConnectionLife.wake)
        await asyncio.wait_for(life.handle.result(), 20)
        assert life.script.named("revoke") == []
