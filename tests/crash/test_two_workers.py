"""Two workers, one connection: one is cut off from Temporal in the middle of a refresh, and wakes after its lease."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from domain.points import Point
from tests.crash.cases import RefreshCase
from tests.crash.second_worker import Way, second_worker
from tests.crash.stack import HoldingStack
from tests.crash.table import Cell, Ending, Fault

pytestmark = pytest.mark.timeout(300)

UNSENT, SENT = Point.REFRESH_AFTER_INTENT, Point.REFRESH_AFTER_ANSWER
NEXT = {UNSENT: SENT, SENT: Point.REFRESH_AFTER_COMMIT}
"""How far each gets once it wakes: past its chance to send, past its chance to commit."""
TRIES = 3
"""Lives refreshed at once, since either worker may take one."""


class Overlap(RefreshCase):
    """A life whose refresh the second worker holds, as far as it got."""

    async def taken(self, seconds: float = 12) -> bool:
        with contextlib.suppress(AssertionError):
            return await self.stack.until(self.held, seconds)
        return False

    async def presented(self) -> int:
        return sum((await self.sends()).values())

    async def probed(self) -> bool:
        (grant,) = await self.app.grants()
        return grant["counters"]["api_calls"] > self.calls_before

    async def note_calls(self) -> None:
        (grant,) = await self.app.grants()
        self.calls_before = grant["counters"]["api_calls"]

    async def wake(self) -> None:
        """Let the held one go on, and see that it did."""
        self.stack.ask(NEXT[Point(self.cell.point)], self.life_id)
        self.let_go()
        await self.stack.until(self._went_on)
        self.stack.let_go(NEXT[Point(self.cell.point)], self.life_id)

    async def _went_on(self) -> bool:
        return self.stack.held(NEXT[Point(self.cell.point)], self.life_id)


async def _held_by_the_second(stack: HoldingStack, point: Point, *, window: bool) -> Overlap:
    cell = Cell(point, Fault.WORKER, window)
    while True:
        cases = [Overlap(cell, stack, 0) for _ in range(TRIES)]
        await asyncio.gather(*(case.prepare() for case in cases))
        await asyncio.gather(*(case.set_off() for case in cases))
        taken = await asyncio.gather(*(case.taken() for case in cases))
        mine = [case for case, is_held in zip(cases, taken, strict=True) if is_held]
        for other in mine[1:]:
            other.let_go()
        if mine:
            return mine[0]


async def _overlap(stack: HoldingStack, way: Way, *, window: bool) -> tuple[Overlap, Overlap]:
    """Two lives whose refresh the second worker holds, cut off: before it sent, and with the answer in hand."""
    held = (_held_by_the_second(stack, point, window=window) for point in (UNSENT, SENT))
    unsent, sent = await asyncio.gather(*held)
    await unsent.note_calls()
    await sent.note_calls()
    await way.cut()
    return unsent, sent


async def _served(life: Overlap) -> tuple[int, str]:
    read = (await life.read()).json()
    return read["generation"], read["credential"]


async def _grown(life: Overlap) -> int:
    return (await _served(life))[0] - life.first["generation"]


@pytest.mark.slow
async def test_a_worker_that_wakes_late_neither_sends_nor_overwrites(
    short_leases: HoldingStack, tmp_path: Path
) -> None:
    """With a window the other worker sent again at once; whatever the late one brings is older."""
    async with second_worker(short_leases, tmp_path) as (second, way):
        unsent, sent = await _overlap(second, way, window=True)
        for life in (unsent, sent):
            await second.until(life.ended)
        served = [await _served(unsent), await _served(sent)]

        await asyncio.gather(unsent.wake(), sent.wake())

        assert [await _served(unsent), await _served(sent)] == served
    assert [await unsent.ending(), await sent.ending()] == [Ending.GOES_ON, Ending.SENT_AGAIN]
    assert [await unsent.presented(), await sent.presented()] == [1, 2]
    # A generation for each intent, of which the late one's was never written.
    assert [await _grown(unsent), await _grown(sent)] == [2, 2]
    assert await unsent.alive()
    assert await sent.alive()


@pytest.mark.slow
async def test_without_a_window_nothing_is_sent_again_before_expiry_and_a_late_answer_is_kept(
    short_leases: HoldingStack, tmp_path: Path
) -> None:
    async with second_worker(short_leases, tmp_path) as (second, way):
        unsent, sent = await _overlap(second, way, window=False)
        for life in (unsent, sent):
            await second.until(life.probed)

        await asyncio.gather(unsent.wake(), sent.wake())

        assert [await unsent.presented(), await sent.presented()] == [0, 1]
        assert [await _grown(unsent), await _grown(sent)] == [0, 1]
        await asyncio.gather(*(second.until(life.ended, 60) for life in (unsent, sent)))
    assert [await unsent.ending(), await sent.ending()] == [Ending.AFTER_EXPIRY, Ending.GOES_ON]
    assert [await unsent.presented(), await sent.presented()] == [1, 1]
    assert await unsent.alive()
    assert await sent.alive()
