"""Grants: what the provider recorded, one per account and app, recognised across installations and connections."""

from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.ids import new_id
from vault.lives import LostRace
from vault.tables import AccountGrant, Life


async def join_grant(tx: AsyncSession, life: Life, account_id: str, scopes: list[str] | None, now: datetime) -> str:
    """The id of the grant behind a credential; empty where the account cannot be told."""
    if not account_id:
        return ""
    grant = await _locked(tx, life, account_id)
    if grant is None:
        made = AccountGrant(
            id=new_id("grant"),
            workspace_id=life.workspace_id,
            provider_config_id=life.provider_config_id,
            account_id=account_id,
            scopes=scopes,
            granted_at=now,
        )
        try:
            async with tx.begin_nested():
                tx.add(made)
        except IntegrityError:
            grant = await _locked(tx, life, account_id)  # another life of this account was first
        else:
            return made.id
    if grant is None:
        raise LostRace(account_id)
    grant.revision += 1
    grant.granted_at = now
    grant.scopes = scopes
    await tx.flush()
    return grant.id


async def _locked(tx: AsyncSession, life: Life, account_id: str) -> AccountGrant | None:
    query = (
        select(AccountGrant)
        .where(AccountGrant.provider_config_id == life.provider_config_id, AccountGrant.account_id == account_id)
        .with_for_update()
    )
    return (await tx.exec(query)).first()
