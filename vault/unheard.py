"""Rows whose workflow has not heard what happened to them: what a sweep signals again."""

from datetime import datetime, timedelta

from sqlmodel import col, select

from domain.life import Status
from vault.database import Database
from vault.paging import PAGE, Page, Place, behind, in_order, page_of
from vault.sessions import returned
from vault.tables import AuthSession, Life, Tombstone

PATIENCE = timedelta(seconds=10)
"""How long a signal may be on its way before it counts as unheard."""
# A revocation that was begun is its workflow's; longer than it may take, the workflow itself must have been lost.
REVOKING = timedelta(minutes=14)


async def unacknowledged(
    db: Database, before: datetime, after: Place | None = None, size: int = PAGE
) -> Page[tuple[Life, str]]:
    """Lives with the id of a session that came back before `before`, and no workflow took up what a person did.

    A revoked life has no workflow any more, and nothing to take up.
    """
    at, session_id = col(AuthSession.consumed_at), col(AuthSession.id)
    query = (
        select(Life, AuthSession)
        .join(AuthSession, col(AuthSession.life_id) == col(Life.id))
        .where(
            Life.status != Status.REVOKED,
            returned(),
            col(AuthSession.acknowledged_at).is_(None),
            at < before,
            *behind(after, at, session_id),
        )
        .order_by(*in_order(at, session_id))
        .limit(size + 1)
    )
    async with db.reading() as tx:
        rows = (await tx.exec(query)).all()
    page = page_of(rows, size, lambda row: Place(row[1].consumed_at, row[1].id))
    return Page([(life, session.id) for life, session in page.rows], page.after)


async def undeleted(db: Database, before: datetime, after: Place | None = None, size: int = PAGE) -> Page[Life]:
    """Lives whose tombstone was committed before `before` and whose end is not recorded."""
    at, life_id = col(Tombstone.requested_at), col(Tombstone.life_id)
    query = (
        select(Life, Tombstone)
        .join(Tombstone, life_id == col(Life.id))
        .where(
            col(Tombstone.finished_at).is_(None),
            at < before,
            col(Tombstone.first_try_at).is_(None) | (col(Tombstone.first_try_at) < before - REVOKING),
            *behind(after, at, life_id),
        )
        .order_by(*in_order(at, life_id))
        .limit(size + 1)
    )
    async with db.reading() as tx:
        rows = (await tx.exec(query)).all()
    page = page_of(rows, size, lambda row: Place(row[1].requested_at, row[1].life_id))
    return Page([life for life, _ in page.rows], page.after)
