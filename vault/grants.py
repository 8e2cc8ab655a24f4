"""Grants: what the provider recorded, one per account and app, recognised across installations and connections."""

from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.ids import new_id
from vault.tables import AccountGrant, Life


async def join_grant(tx: AsyncSession, life: Life, account_id: str, scopes: list[str] | None, now: datetime) -> str:
    """The id of the grant behind a credential; empty where the account cannot be told."""
    if not account_id:
        return ""
    query = (
        select(AccountGrant)
        .where(AccountGrant.provider_config_id == life.provider_config_id, AccountGrant.account_id == account_id)
        .with_for_update()
    )
    grant = (await tx.exec(query)).first()
    if grant is None:
        grant = AccountGrant(
            id=new_id("grant"),
            workspace_id=life.workspace_id,
            provider_config_id=life.provider_config_id,
            account_id=account_id,
            granted_at=now,
        )
        tx.add(grant)
    else:
        grant.revision += 1
        grant.granted_at = now
    grant.scopes = scopes
    await tx.flush()
    return grant.id
