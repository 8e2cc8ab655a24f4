"""What a sweep signals again, and what it leaves alone."""

from datetime import timedelta
from typing import Any

from domain.life import AttemptState, Status
from vault.database import Database
from vault.lives import compare_and_set
from vault.unheard import unacknowledged


async def test_a_callback_that_nobody_took_up_is_found_until_its_life_is_revoked(
    db: Database, life: Any, new_session: Any, row_of: Any, now: Any
) -> None:
    session = await new_session(life, state=AttemptState.EXCHANGING, consumed_at=now)
    later = now + timedelta(seconds=1)
    assert [(row.id, session_id) for row, session_id in await unacknowledged(db, later)] == [(life.id, session.id)]
    assert await unacknowledged(db, now) == []
    async with db.transaction() as tx:
        await compare_and_set(tx, await row_of(life), now, status=Status.REVOKED)
    assert await unacknowledged(db, later) == []
