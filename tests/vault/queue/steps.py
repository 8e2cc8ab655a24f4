"""The steps of a story about a queue of events."""

from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from vault import outbox
from vault.database import Database
from vault.events import append_event
from vault.outbox import Claimed
from vault.tables import Event, Life, Outbox

PATIENCE = timedelta(days=5)
SECOND = timedelta(seconds=1)


async def happen(db: Database, clock: Any, life: Life, *names: str) -> None:
    for name in names:
        async with db.transaction() as tx:
            await append_event(tx, life, name, clock())


async def claim(db: Database, clock: Any, limit: int = 100) -> list[Claimed]:
    async with db.transaction() as tx:
        return await outbox.claim(tx, "default", clock(), limit)


async def deliver(db: Database, clock: Any, *claimed: Claimed) -> None:
    async with db.transaction() as tx:
        for each in claimed:
            await outbox.delivered(tx, each, clock())


async def fail(db: Database, clock: Any, claimed: Claimed, wait: timedelta = SECOND, error: str = "status_500") -> bool:
    async with db.transaction() as tx:
        return await outbox.failed(tx, claimed, clock(), error, wait, PATIENCE)


async def rows(db: Database) -> dict[str, Outbox]:
    """The queue, by the name of each event."""
    query = select(Outbox, Event).join(Event, col(Event.id) == Outbox.event_id).order_by(col(Event.sequence))
    async with db.reading() as tx:
        return {event.type.partition(".")[2]: row for row, event in (await tx.exec(query)).all()}


def names(claimed: list[Claimed]) -> list[str]:
    return [each.event.type.partition(".")[2] for each in claimed]
