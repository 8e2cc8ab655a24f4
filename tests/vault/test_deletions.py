import asyncio
from typing import Any

from sqlmodel import select

from domain.life import Kind
from vault import reading
from vault.database import Database
from vault.deletions import entomb
from vault.tables import Life, Tombstone


async def stones(db: Database) -> list[Tombstone]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Tombstone))).all())


async def test_a_tombstone_stops_serving_at_once(
    db: Database, life: Life, new_current: Any, row_of: Any, now: Any
) -> None:
    await new_current(life)
    assert await reading.find_one(db, life.id) is not None
    assert [row.id for row in await entomb(db, life.id, now)] == [life.id]
    assert await reading.find_one(db, life.id) is None
    row = await row_of(life)
    assert (row.deleted_at, row.next_due_at) == (now, now)
    (stone,) = await stones(db)
    assert (stone.life_id, stone.requested_at, stone.upstream, stone.finished_at) == (life.id, now, "pending", None)


async def test_an_installation_takes_its_connections_and_no_others(
    db: Database, new_life: Any, row_of: Any, now: Any
) -> None:
    installation, other = await new_life(Kind.INSTALLATION), await new_life(Kind.INSTALLATION, tenant_id="other")
    mine = [await new_life(user_id=user, installation_id=installation.id) for user in ("ann", "bob")]
    theirs = await new_life(user_id="ann", installation_id=other.id)
    rows = await entomb(db, installation.id, now)
    assert {row.id for row in rows} == {installation.id, *(life.id for life in mine)}
    assert {stone.life_id for stone in await stones(db)} == {row.id for row in rows}
    assert (await row_of(theirs)).deleted_at is None


async def test_a_connection_leaves_its_installation_alone(db: Database, new_life: Any, row_of: Any, now: Any) -> None:
    installation = await new_life(Kind.INSTALLATION)
    await entomb(db, (await new_life(installation_id=installation.id)).id, now)
    assert (await row_of(installation)).deleted_at is None


async def test_a_second_deletion_answers_the_row_again_and_writes_nothing(
    db: Database, life: Life, row_of: Any, clock: Any
) -> None:
    await entomb(db, life.id, clock.now)
    before, kept = await row_of(life), await stones(db)
    assert [row.id for row in await entomb(db, life.id, clock.advance(hours=1))] == [life.id]
    assert (await row_of(life), await stones(db)) == (before, kept)


async def test_deletions_at_once_leave_one_tombstone(db: Database, life: Life, now: Any) -> None:
    answers = await asyncio.gather(*(entomb(db, life.id, now) for _ in range(3)))
    assert [[row.id for row in rows] for rows in answers] == [[life.id]] * 3
    assert len(await stones(db)) == 1


async def test_an_unknown_life_cannot_be_deleted(db: Database, now: Any) -> None:
    assert await entomb(db, "conn_unknown", now) == []
