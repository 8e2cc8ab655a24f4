"""Rows whose workflow has not heard what happened to them: what a sweep signals again."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import col, select

from domain.life import Status
from vault.database import Database
from vault.sessions import returned
from vault.tables import AuthSession, Life, Tombstone

MOST = 200
# A revocation that was begun is its workflow's; longer than it may take, the workflow itself must have been lost.
REVOKING = timedelta(minutes=20)


async def unacknowledged(db: Database, before: datetime) -> Sequence[tuple[Life, str]]:
    """Lives with the id of a session that came back before `before`, and no workflow took up what a person did.

    A revoked life has no workflow any more, and nothing to take up.
    """
    query = (
        select(Life, AuthSession.id)
        .join(AuthSession, col(AuthSession.life_id) == col(Life.id))
        .where(
            Life.status != Status.REVOKED,
            returned(),
            col(AuthSession.acknowledged_at).is_(None),
            col(AuthSession.consumed_at) < before,
        )
        .order_by(col(AuthSession.consumed_at))
        .limit(MOST)
    )
    async with db.reading() as tx:
        return (await tx.exec(query)).all()


async def undeleted(db: Database, before: datetime) -> Sequence[Life]:
    """Lives whose tombstone was committed before `before` and whose end is not recorded."""
    query = (
        select(Life)
        .join(Tombstone, col(Tombstone.life_id) == col(Life.id))
        .where(
            col(Tombstone.finished_at).is_(None),
            col(Tombstone.requested_at) < before,
            col(Tombstone.first_try_at).is_(None) | (col(Tombstone.first_try_at) < before - REVOKING),
        )
        .order_by(col(Tombstone.requested_at))
        .limit(MOST)
    )
    async with db.reading() as tx:
        return (await tx.exec(query)).all()
