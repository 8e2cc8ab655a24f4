"""Deleting: the tombstone first, so that serving stops for every reader at once (semantics: Deleting)."""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import Kind
from vault.database import Database
from vault.lives import compare_and_set, lock_life
from vault.tables import Life, Tombstone


async def entomb(db: Database, life_id: str, now: datetime) -> list[Life]:
    """Commit the tombstones of a life and, for an installation, of its connections. Answers the rows to be revoked.

    A row that was entombed before is answered again: its workflow may not have heard.
    """
    async with db.transaction() as tx:
        life = await lock_life(tx, life_id)
        if life is None:
            return []
        rows = [life, *(await _connections(tx, life))]
        for row in rows:
            await _bury(tx, row, now)
        return rows


async def _connections(tx: AsyncSession, life: Life) -> list[Life]:
    if life.kind != Kind.INSTALLATION:
        return []
    query = select(Life).where(Life.installation_id == life.id, col(Life.deleted_at).is_(None)).with_for_update()
    return list((await tx.exec(query)).all())


async def _bury(tx: AsyncSession, life: Life, now: datetime) -> None:
    if life.deleted_at is not None:
        return
    await compare_and_set(tx, life, now, deleted_at=now, next_due_at=now)
    tx.add(Tombstone(life_id=life.id, workspace_id=life.workspace_id, requested_at=now))
