"""Deleting: the tombstone first, so that serving stops for every reader at once (semantics: Deleting)."""

from datetime import datetime

from sqlalchemy import and_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.database import Database
from vault.lives import compare_and_set, itself, lock_in_order
from vault.tables import Life, Tombstone


async def entomb(db: Database, life_id: str, now: datetime) -> list[Life]:
    """Commit the tombstones of a life and, for an installation, of its connections. Answers the rows to be revoked.

    A row that was entombed before is answered again: its workflow may not have heard.
    """
    async with db.transaction() as tx:
        connections = and_(col(Life.installation_id) == life_id, col(Life.deleted_at).is_(None))
        rows = await lock_in_order(tx, itself(life_id), connections)
        if life_id not in rows:
            return []
        for row in rows.values():
            await _bury(tx, row, now)
        return [rows.pop(life_id), *rows.values()]


async def _bury(tx: AsyncSession, life: Life, now: datetime) -> None:
    if life.deleted_at is not None:
        return
    await compare_and_set(tx, life, now, deleted_at=now, next_due_at=now)
    tx.add(Tombstone(life_id=life.id, workspace_id=life.workspace_id, requested_at=now))
