"""Where wrapped data keys are kept: an interface of its own, so that they can live apart from the vault's backups."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import ColumnElement, Select, bindparam
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select, update

from vault.database import Database
from vault.tables import DataKey


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored: readable only with the key-encryption key `kek_id`."""

    id: str
    workspace_id: str
    tenant_id: str
    kek_id: str
    wrapped: bytes = field(repr=False)


class KeyStore(Protocol):
    """Keeps at most one living key per (workspace, tenant). Each call is atomic by itself."""

    async def find(self, workspace_id: str, tenant_id: str) -> WrappedKey | None:
        """The owner's living key."""

    async def get(self, key_id: str) -> WrappedKey | None:
        """The key of that id, if it still lives."""

    async def put(self, key: WrappedKey, now: datetime) -> bool:
        """Keep a new key; False, and nothing kept, if its owner has a living one."""

    async def destroy(self, workspace_id: str, tenant_id: str, now: datetime) -> bool:
        """Overwrite the owner's living key; False if there is none."""

    async def rewrap(self, key: WrappedKey, before: str) -> bool:
        """Store `key.wrapped` and `key.kek_id` if the key is still wrapped by the key-encryption key `before`."""

    async def not_wrapped_by(self, kek_id: str, limit: int) -> list[WrappedKey]:
        """Living keys that another key-encryption key wraps."""

    async def samples(self) -> list[WrappedKey]:
        """One living key for each key-encryption key in use."""


class SqlKeyStore:
    """The key store in the vault's own database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, workspace_id: str, tenant_id: str) -> WrappedKey | None:
        return await self._one(_OWNED, {"workspace_id": workspace_id, "tenant_id": tenant_id})

    async def get(self, key_id: str) -> WrappedKey | None:
        return await self._one(_NAMED, {"id": key_id})

    async def put(self, key: WrappedKey, now: datetime) -> bool:
        try:
            async with self._db.transaction() as session:
                session.add(
                    DataKey(
                        id=key.id,
                        workspace_id=key.workspace_id,
                        tenant_id=key.tenant_id,
                        kek_id=key.kek_id,
                        wrapped=key.wrapped,
                        created_at=now,
                    )
                )
        except IntegrityError:
            return False
        return True

    async def destroy(self, workspace_id: str, tenant_id: str, now: datetime) -> bool:
        return await self._update(
            col(DataKey.workspace_id) == workspace_id,
            col(DataKey.tenant_id) == tenant_id,
            wrapped=None,
            destroyed_at=now,
        )

    async def rewrap(self, key: WrappedKey, before: str) -> bool:
        return await self._update(
            col(DataKey.id) == key.id, col(DataKey.kek_id) == before, wrapped=key.wrapped, kek_id=key.kek_id
        )

    async def not_wrapped_by(self, kek_id: str, limit: int) -> list[WrappedKey]:
        return await self._living(col(DataKey.kek_id) != kek_id, limit=limit)

    async def samples(self) -> list[WrappedKey]:
        firsts = select(func.min(DataKey.id)).where(col(DataKey.destroyed_at).is_(None)).group_by(DataKey.kek_id)
        return await self._living(col(DataKey.id).in_(firsts))

    async def _one(self, statement: Select[*tuple[Any, ...]], values: dict[str, str]) -> WrappedKey | None:
        rows = await self._db.rows(statement, values)
        return WrappedKey(*rows[0]) if rows else None

    async def _living(self, *which: ColumnElement[bool], limit: int | None = None) -> list[WrappedKey]:
        query = select(DataKey).where(col(DataKey.destroyed_at).is_(None), *which).limit(limit)
        async with self._db.looking() as session:
            rows = (await session.exec(query)).all()
        return [WrappedKey(row.id, row.workspace_id, row.tenant_id, row.kek_id, row.wrapped or b"") for row in rows]

    async def _update(self, *which: ColumnElement[bool], **values: object) -> bool:
        change = update(DataKey).where(col(DataKey.destroyed_at).is_(None), *which).values(**values)
        async with self._db.transaction() as session:
            return (await session.exec(change)).rowcount > 0


# In the order of `WrappedKey`.
_ANY = sqlalchemy.select(
    col(DataKey.id), col(DataKey.workspace_id), col(DataKey.tenant_id), col(DataKey.kek_id), col(DataKey.wrapped)
).where(col(DataKey.destroyed_at).is_(None))
_NAMED = _ANY.where(col(DataKey.id) == bindparam("id"))
_OWNED = _ANY.where(
    col(DataKey.workspace_id) == bindparam("workspace_id"), col(DataKey.tenant_id) == bindparam("tenant_id")
)
