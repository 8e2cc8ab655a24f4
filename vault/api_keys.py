"""Workspaces and the API keys that open them. A key is shown once, when it is made; only its SHA-256 is kept."""

import hashlib
import secrets
from datetime import datetime
from typing import Literal

import sqlalchemy
from sqlalchemy import bindparam, inspect
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select, update

from vault.database import Database
from vault.ids import new_id
from vault.tables import ApiKey, Workspace

Role = Literal["secret", "publishable"]
PREFIXES: dict[Role, str] = {"secret": "ap_sk_", "publishable": "ap_pk_"}


async def ensure_workspace(db: Database, workspace_id: str, now: datetime) -> None:
    """Make the workspace if it does not exist yet."""
    try:
        async with db.transaction() as tx:
            if await tx.get(Workspace, workspace_id) is None:
                tx.add(Workspace(id=workspace_id, name=workspace_id, created_at=now))
    except IntegrityError:
        return  # another process made it at the same moment


async def create_key(db: Database, workspace_id: str, name: str, role: Role, now: datetime) -> tuple[str, str]:
    """A new key: its id, and the key itself, which cannot be had again."""
    key = PREFIXES[role] + secrets.token_urlsafe(32)
    row = ApiKey(
        id=new_id("key"),
        workspace_id=workspace_id,
        name=name,
        role=role,
        key_hash=digest(key),
        created_at=now,
    )
    async with db.transaction() as tx:
        tx.add(row)
    return row.id, key


async def find_key(db: Database, presented: str) -> ApiKey | None:
    """The living key that was presented. Only its hash is compared, so timing tells nothing about a key."""
    rows = await db.rows(_LIVING, {"hash": digest(presented)})
    return ApiKey(**dict(zip(_COLUMNS.keys(), rows[0], strict=True))) if rows else None


_COLUMNS = inspect(ApiKey).columns
_LIVING = sqlalchemy.select(*_COLUMNS).where(
    col(ApiKey.key_hash) == bindparam("hash"), col(ApiKey.revoked_at).is_(None)
)


async def list_keys(db: Database, workspace_id: str) -> list[ApiKey]:
    """The workspace's living keys, oldest first."""
    query = (
        select(ApiKey)
        .where(ApiKey.workspace_id == workspace_id, col(ApiKey.revoked_at).is_(None))
        .order_by(col(ApiKey.created_at), col(ApiKey.id))
    )
    async with db.reading() as tx:
        return list(await tx.exec(query))


async def revoke_key(db: Database, workspace_id: str, key_id: str, now: datetime) -> bool:
    """Revoke it from now on; False if the workspace has no living key of that id."""
    change = (
        update(ApiKey)
        .where(col(ApiKey.id) == key_id, col(ApiKey.workspace_id) == workspace_id, col(ApiKey.revoked_at).is_(None))
        .values(revoked_at=now)
    )
    async with db.transaction() as tx:
        return (await tx.exec(change)).rowcount == 1


def digest(token: str) -> str:
    """SHA-256, hex: enough for a token of 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
