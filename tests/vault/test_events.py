from typing import Any

import pytest
from sqlmodel import col, select

from domain.life import Kind
from vault.database import Database
from vault.events import append_event
from vault.tables import Event, Life, Outbox


async def events(db: Database) -> list[Event]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Event).order_by(col(Event.sequence)))).all())


async def outbox(db: Database) -> list[Outbox]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Outbox))).all())


async def test_an_event_names_its_life_and_waits_for_delivery(db: Database, new_life: Any, now: Any) -> None:
    life = await new_life(Kind.INSTALLATION)
    async with db.transaction() as tx:
        append_event(tx, life, "activated", now, old="pending", new="active")
    (event,), (waiting,) = await events(db), await outbox(db)
    assert (event.type, event.life_id, event.created_at) == ("installation.activated", life.id, now)
    assert event.data == {"old": "pending", "new": "active"}
    assert (waiting.event_id, waiting.workspace_id, waiting.delivered_at) == (event.id, "default", None)


async def test_events_keep_the_order_in_which_they_were_written(db: Database, life: Life, now: Any) -> None:
    for name in ("created", "activated", "refreshed"):
        async with db.transaction() as tx:
            append_event(tx, life, name, now)
    assert [event.type for event in await events(db)] == [
        "connection.created",
        "connection.activated",
        "connection.refreshed",
    ]


async def test_what_did_not_happen_leaves_no_event(db: Database, life: Life, now: Any) -> None:
    async def fail() -> None:
        async with db.transaction() as tx:
            append_event(tx, life, "refreshed", now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await events(db), await outbox(db)) == ([], [])
