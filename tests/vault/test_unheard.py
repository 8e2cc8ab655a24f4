"""What a sweep signals again, and what it leaves alone."""

from datetime import timedelta
from functools import partial
from typing import Any

from domain.life import AttemptState, Status
from vault.database import Database
from vault.deletions import entomb
from vault.lives import compare_and_set
from vault.paging import pages
from vault.tables import Tombstone
from vault.unheard import REVOKING, unacknowledged, undeleted

SECOND = timedelta(seconds=1)


async def test_a_callback_that_nobody_took_up_is_found_until_its_life_is_revoked(
    db: Database, life: Any, new_session: Any, row_of: Any, now: Any
) -> None:
    session = await new_session(life, state=AttemptState.EXCHANGING, consumed_at=now)
    later = now + SECOND
    found = (await unacknowledged(db, later)).rows
    assert [(row.id, session_id) for row, session_id in found] == [(life.id, session.id)]
    assert (await unacknowledged(db, now)).rows == []
    async with db.transaction() as tx:
        await compare_and_set(tx, await row_of(life), now, status=Status.REVOKED)
    assert (await unacknowledged(db, later)).rows == []


async def test_callbacks_come_in_pages(db: Database, new_life: Any, new_session: Any, now: Any) -> None:
    ids = []
    for n in range(5):
        life = await new_life(user_id=f"user-{n}")
        session = await new_session(life, state=AttemptState.EXCHANGING, consumed_at=now + (n // 2) * SECOND)
        ids.append(session.id)
    fetch = partial(unacknowledged, db, now + 9 * SECOND, size=2)
    found = [[session_id for _, session_id in rows] async for rows in pages(fetch)]
    assert [len(page) for page in found] == [2, 2, 1]
    assert sorted(session_id for page in found for session_id in page) == sorted(ids)


async def test_a_deletion_is_found_until_it_is_begun_and_again_when_that_took_too_long(
    db: Database, life: Any, now: Any
) -> None:
    async def found(before: Any) -> list[str]:
        return [row.id for row in (await undeleted(db, before)).rows]

    async def write(**columns: Any) -> None:
        async with db.transaction() as tx:
            stone = await tx.get(Tombstone, life.id)
            assert stone is not None
            stone.sqlmodel_update(columns)

    await entomb(db, life.id, now)
    assert (await found(now), await found(now + SECOND)) == ([], [life.id])
    await write(first_try_at=now + SECOND)
    assert (await found(now + 2 * SECOND), await found(now + 2 * SECOND + REVOKING)) == ([], [life.id])
    await write(finished_at=now + 3 * SECOND)
    assert await found(now + 2 * SECOND + REVOKING) == []
