"""Session tokens: the builder's backend says for whom a page may open one auth session."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.api_keys import digest
from vault.database import Database
from vault.ids import new_id
from vault.tables import SessionToken

PREFIX = "ap_st_"
LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Mandate:
    """What a session token fixes. Empty texts leave a choice open."""

    workspace_id: str
    kind: str
    provider_id: str
    tenant_id: str
    user_id: str = ""
    provider_config_id: str = ""
    installation_id: str = ""
    label: str = "default"
    scopes: tuple[str, ...] | None = None
    redirect_url: str = ""
    opener_origin: str = ""


@dataclass(frozen=True, slots=True)
class Minted:
    """A new session token, shown this once."""

    id: str
    token: str = field(repr=False)
    expires_at: datetime


async def mint(db: Database, mandate: Mandate, now: datetime) -> Minted:
    """A token for one session within the next ten minutes."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = SessionToken(
        id=new_id("stk"),
        workspace_id=mandate.workspace_id,
        token_hash=digest(token),
        kind=mandate.kind,
        provider_id=mandate.provider_id,
        provider_config_id=mandate.provider_config_id,
        tenant_id=mandate.tenant_id,
        user_id=mandate.user_id,
        installation_id=mandate.installation_id,
        label=mandate.label,
        scopes=None if mandate.scopes is None else list(mandate.scopes),
        redirect_url=mandate.redirect_url,
        opener_origin=mandate.opener_origin,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    async with db.transaction() as tx:
        tx.add(row)
    return Minted(row.id, token, row.expires_at)


async def find(db: Database, presented: str, now: datetime) -> SessionToken | None:
    """The token's row, if it may still open a session, or has opened one (`session_id`) and is good for its outcome."""
    query = select(SessionToken).where(
        SessionToken.token_hash == digest(presented),
        (col(SessionToken.expires_at) > now) | col(SessionToken.used_at).is_not(None),
    )
    async with db.reading() as tx:
        return (await tx.exec(query)).first()


async def use(tx: AsyncSession, token_id: str, session_id: str, now: datetime) -> bool:
    """Spend the token on a session, in the transaction that stores the session; False if it is spent or expired."""
    change = (
        update(SessionToken)
        .where(
            col(SessionToken.id) == token_id,
            col(SessionToken.used_at).is_(None),
            col(SessionToken.expires_at) > now,
        )
        .values(used_at=now, session_id=session_id)
    )
    return (await tx.exec(change)).rowcount == 1


async def unuse(tx: AsyncSession, token_id: str, session_id: str) -> None:
    """The session could not be opened after all: the token is good again."""
    change = (
        update(SessionToken)
        .where(col(SessionToken.id) == token_id, col(SessionToken.session_id) == session_id)
        .values(used_at=None, session_id="")
    )
    await tx.exec(change)
