"""Refreshes, as many as can be had: tokens that end within seconds, and workers that come and are asked to end."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlmodel import col, func, select

from runtime.vault_setup import clock
from tests.chaos.stand import SECOND, THIRD, Stand
from tests.topology.rates import Window, ticks_now, up_and_down
from vault.ledger import REFRESH, SUCCEEDED
from vault.tables import Life, TokenAttempt

BESIDE = (SECOND, THIRD)
"""The workers that come and go. The first is the stack's own."""
SETTLED_WITHIN = 180.0
"""Seconds until everyone has another token: the first one's life, or what a backlog takes."""


@dataclass
class Worked:
    """What came of it."""

    windows: list[Window] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    """Seconds that each worker took to end, once it was asked to."""


async def refresh_rates(stand: Stand, seconds: float, say: Callable[[str], None]) -> Worked:
    """One window for each number of workers on the way up and down. Both that come and go run at the start and end."""
    worked, here = Worked(), list(BESIDE)
    for count in up_and_down(1 + len(BESIDE)):
        while len(here) + 1 > count:
            worked.ended.append(await stand.beside.remove(here.pop()))
        while len(here) + 1 < count:
            here.append(BESIDE[len(here)])
            await stand.add_worker(here[-1])
        worked.windows.append(await _window(stand, count, seconds))
        say(f"{count} of the workers: {worked.windows[-1].rate:.1f} refreshes a second")
    for name in BESIDE[len(here) :]:
        await stand.add_worker(name)
    return worked


async def _window(stand: Stand, count: int, seconds: float) -> Window:
    since, before, began = clock(), ticks_now(), time.monotonic()
    await asyncio.sleep(seconds)
    passed, busy = time.monotonic() - began, before.busy_until(ticks_now())
    return Window(count, passed, await _refreshed(stand, since, since + timedelta(seconds=passed)), busy)


async def _refreshed(stand: Stand, since: datetime, until: datetime) -> int:
    answered = col(TokenAttempt.answered_at)
    query = select(func.count()).where(
        TokenAttempt.kind == REFRESH, TokenAttempt.outcome == SUCCEEDED, answered >= since, answered < until
    )
    async with stand.vault.reading() as tx:
        return (await tx.exec(query)).one()


async def all_renewed(stand: Stand) -> None:
    """Wait until nobody has the first token any more. Raises if that takes too long."""
    await _none(stand, lambda: col(Life.generation) == 1)


async def all_last(stand: Stand, seconds: float) -> None:
    """Wait until every token lives for so long still. Raises if that takes too long."""
    await _none(stand, lambda: col(Life.expires_at) < clock() + timedelta(seconds=seconds))


async def _none(stand: Stand, which: Callable[[], ColumnElement[bool]]) -> None:
    async def gone() -> bool:
        query = select(Life.id).where(Life.status == "active", which()).limit(1)
        async with stand.vault.reading() as tx:
            return (await tx.exec(query)).first() is None

    await stand.until(gone, SETTLED_WITHIN)


async def in_doubt(stand: Stand, before: datetime) -> Sequence[str]:
    """Sends of before that moment whose answer nobody knows."""
    query = select(TokenAttempt.id).where(col(TokenAttempt.outcome).is_(None), TokenAttempt.started_at < before)
    async with stand.vault.reading() as tx:
        return (await tx.exec(query)).all()
