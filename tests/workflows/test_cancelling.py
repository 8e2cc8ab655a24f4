"""How a run ends by an operator's hand, in Temporal's UI: it changes no life."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from workflows.life import ConnectionLife
from workflows.messages import EnsureFresh

NewLife = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("busy", [False, True], ids=["asleep", "refreshing"])
async def test_a_cancel_from_the_ui_ends_the_run_and_nothing_else(
    new_life: NewLife, again: Callable[[Any], Awaitable[Any]], busy: bool
) -> None:
    life = await new_life()
    await life.until(lambda v: v.generation == 1)
    life.script.gates["refresh"] = gate = asyncio.Event()
    if busy:
        await life.begin(ConnectionLife.ensure_fresh, EnsureFresh(1))
        await life.called("refresh")
    await life.handle.cancel()
    with pytest.raises(WorkflowFailureError) as failure:
        await asyncio.wait_for(life.handle.result(), 20)
    assert isinstance(failure.value.cause, CancelledError)
    assert {call.name for call in life.script.calls} == ({"load", "refresh"} if busy else {"load"})
    gate.set()
    revived = await again(life)
    await revived.until(lambda v: v.status == "active")
    await revived.handle.terminate()
