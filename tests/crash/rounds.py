"""A round: many lives taken to their crash points at once, one fault for all of them, and every ending."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import httpx

from tests.crash.cases import Case, RefreshCase, case_of
from tests.crash.stack import HoldingStack
from tests.crash.table import Cell

HELD_WITHIN = 40
ENDED_WITHIN = 90
WATCH_EVERY = 0.5
AT_ONCE = 6

Strike = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one cell came out, and whether a living grant was lost in it."""

    ending: str
    lost: bool


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault: what strikes while all are held, and what is done once they were let go."""

    strike: Strike
    mend: Strike


async def play(stack: HoldingStack, cells: Iterable[Cell], blow: Blow, withhold: float) -> dict[Cell, Outcome]:
    """One round. Raises if the lives cannot be brought to their points; an ending that is missing is an outcome."""
    cases = [case_of(cell, stack, withhold) for cell in cells]
    watching: asyncio.Task[None] | None = None
    try:
        await bring_to_points(stack, cases)
        watching = asyncio.create_task(_watch(cases))
        await blow.strike()
        for case in cases:
            case.let_go()
        await blow.mend()
        return dict(await asyncio.gather(*(_finish(case) for case in cases)))
    finally:
        if watching:
            watching.cancel()
        await asyncio.gather(*(case.close() for case in cases))


async def bring_to_points(stack: HoldingStack, cases: Sequence[Case]) -> None:
    """Those in the middle of a sending come last, for their answers are withheld for seconds only."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def prepare(case: Case) -> None:
        async with slots:
            await case.prepare()

    await asyncio.gather(*(prepare(case) for case in cases))
    for sending in (False, True):
        some = [case for case in cases if case.sending is sending]
        await asyncio.gather(*(case.set_off() for case in some))
        await asyncio.gather(*(stack.until(case.held, HELD_WITHIN) for case in some))


async def _finish(case: Case) -> tuple[Cell, Outcome]:
    try:
        await case.stack.until(case.ended, ENDED_WITHIN)
    except AssertionError:
        return case.cell, Outcome("no ending", await case.lost())
    return case.cell, Outcome(await case.ending(), await case.lost())


async def _watch(cases: Sequence[Case]) -> None:
    """Read all the while, as a backend does."""
    while True:
        for case in cases:
            if isinstance(case, RefreshCase):
                with contextlib.suppress(httpx.HTTPError):
                    await case.watch()
        await asyncio.sleep(WATCH_EVERY)


def kill(stack: HoldingStack, name: str) -> Blow:
    """SIGKILL for one part, which its supervisor starts again."""
    return _signalled(stack, name, signal.SIGKILL)


def ask_to_end(stack: HoldingStack, name: str, beyond: float) -> Blow:
    """SIGTERM for one part, as from a deployment; those it holds are let go `beyond` seconds later."""
    return _signalled(stack, name, signal.SIGTERM, beyond)


def _signalled(stack: HoldingStack, name: str, number: signal.Signals, beyond: float = 0) -> Blow:
    killed = stack.process(name)

    async def strike() -> None:
        nonlocal killed
        killed = stack.process(name)
        assert killed is not None
        os.kill(killed.pid, number)
        await asyncio.sleep(beyond)

    async def mend() -> None:
        async def another() -> bool:
            running = stack.process(name)
            answers = (await stack.api.get("/health/live")).is_success
            return running is not None and running != killed and answers

        await stack.until(another)

    return Blow(strike, mend)


async def _nothing() -> None:
    pass


CUT = Blow(_nothing, _nothing)
"""The simulator itself cuts the connections: nothing is left to do when all have met it."""
