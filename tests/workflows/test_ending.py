"""How a life ends: by our own deletion, and no other way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from activities.messages import Ending, RevokeResult
from workflows.life import ConnectionLife
from workflows.messages import SessionRef, Settlement

NewLife = Callable[..., Awaitable[Any]]


async def test_a_deleted_life_is_revoked_and_its_workflow_ends(new_life: NewLife) -> None:
    life = await new_life()
    await life.until(lambda v: v.generation == 1)
    await life.handle.signal(ConnectionLife.delete)
    await asyncio.wait_for(life.handle.result(), 20)
    view = await life.view()
    assert (view.status, view.next_step) == ("revoked", "end")
    assert [call.name for call in life.script.calls] == ["load", "revoke"]


async def test_a_tombstone_in_the_row_is_enough(new_life: NewLife) -> None:
    life = await new_life(deleting=True)
    await asyncio.wait_for(life.handle.result(), 20)
    assert [call.name for call in life.script.calls] == ["load", "revoke"]


async def test_a_deletion_signalled_while_the_row_is_being_read_is_not_lost(new_life: NewLife) -> None:
    gate = asyncio.Event()
    life = await new_life(prepare=lambda s: s.gates.update(load=gate))
    await life.called("load")
    await life.handle.signal(ConnectionLife.delete)
    gate.set()
    await asyncio.wait_for(life.handle.result(), 20)
    assert len(life.script.named("revoke")) == 1


async def test_a_deletion_during_a_refresh_comes_next(new_life: NewLife) -> None:
    life = await new_life()
    await life.until(lambda v: v.generation == 1)
    life.script.gates["refresh"] = gate = asyncio.Event()
    asked = asyncio.create_task(life.fresh())
    await life.called("refresh")
    await life.handle.signal(ConnectionLife.delete)
    gate.set()
    assert (await asked).generation == 2
    await asyncio.wait_for(life.handle.result(), 20)
    assert [call.name for call in life.script.calls] == ["load", "refresh", "revoke"]


async def test_a_provider_that_cannot_be_told_is_told_again_with_pauses(new_life: NewLife) -> None:
    later = RevokeResult(Ending.STUMBLED)
    life = await new_life(prepare=lambda s: s.revocations.extend([later] * 4))
    await life.handle.signal(ConnectionLife.delete)
    await asyncio.wait_for(life.handle.result(), 20)
    calls = life.script.named("revoke")
    assert len(calls) == 5
    assert (calls[-1].at - calls[0].at).total_seconds() >= 0.75 * (1 + 2 + 4 + 8)


async def test_nothing_is_refreshed_or_exchanged_once_it_is_being_deleted(new_life: NewLife) -> None:
    later = RevokeResult(Ending.STUMBLED)
    life = await new_life(prepare=lambda s: s.revocations.extend([later] * 4))
    await life.handle.signal(ConnectionLife.delete)
    await life.called("revoke")
    await life.handle.signal(ConnectionLife.authorization_returned, SessionRef("ses_late"))
    await asyncio.wait_for(life.handle.result(), 20)
    assert {call.name for call in life.script.calls} == {"load", "revoke"}


async def test_who_waits_for_a_consent_learns_of_the_end(new_life: NewLife, attempt: Any) -> None:
    later = RevokeResult(Ending.STUMBLED)
    life = await new_life(0, attempts=[attempt()], prepare=lambda s: s.revocations.extend([later]))
    asked = await life.begin(ConnectionLife.settled, SessionRef("ses_1"))
    await life.handle.signal(ConnectionLife.delete)
    assert await asyncio.wait_for(asked.result(), 20) == Settlement(settled=True)


async def test_a_life_nobody_finished_ends_after_its_last_deadline(new_life: NewLife, attempt: Any) -> None:
    life = await new_life(0, attempts=[attempt(minutes=15)])
    await asyncio.wait_for(life.handle.result(), 20)
    assert [call.name for call in life.script.calls] == ["load", "close_attempt"]
