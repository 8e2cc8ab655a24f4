"""Sealed credentials: the current one of a life, and candidates that have not passed their checks yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy
from sqlalchemy import and_, bindparam, delete, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.credential import CredentialRef
from vault.crypto import Owner, SealBroken, Sealer, fingerprint, key_id_of
from vault.database import Database
from vault.direct import Tx
from vault.ids import new_id
from vault.tables import Credential, Life, ProviderConfig, as_read, plain

LIFE, CREDENTIAL, CONFIG = plain(Life), plain(Credential), plain(ProviderConfig)
CURRENT = "current"
CANDIDATE = "candidate"
OAUTH_TOKEN = "oauth_token"
ACCESS = "access"
REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class Secrets:
    """An opened credential. Hidden in every repr; it lives in memory only."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedSecrets:
    """The same, sealed for one life and one generation."""

    key_id: str
    access: bytes
    refresh: bytes | None


def owner_of(life: Life) -> Owner:
    """Whose ciphertext it is: it opens for this life and its tenant's key alone (law 8)."""
    return Owner(life.workspace_id, life.tenant_id, "life", life.id)


async def seal(sealer: Sealer, life: Life, generation: int, secrets: Secrets) -> SealedSecrets:
    """Seal both halves; the generation is the version the ciphertext is bound to."""
    halves = {ACCESS: secrets.access} if secrets.refresh is None else {ACCESS: secrets.access, REFRESH: secrets.refresh}
    sealed = await sealer.seal_together(owner_of(life), generation, halves)
    return SealedSecrets(key_id_of(sealed[ACCESS]), sealed[ACCESS], sealed.get(REFRESH))


async def open_secrets(sealer: Sealer, life: Life, credential: Credential) -> Secrets:
    """Open both halves. Raises `SealBroken` if the row was moved or altered."""
    if credential.sealed_access is None:
        raise ValueError("a credential without an access token was about to be opened")
    access = await sealer.open(owner_of(life), ACCESS, credential.generation, credential.sealed_access)
    refresh = None
    if credential.sealed_refresh is not None:
        refresh = await sealer.open(owner_of(life), REFRESH, credential.generation, credential.sealed_refresh)
    return Secrets(access, refresh)


async def fingerprint_of(sealer: Sealer, life: Life, credential: Credential, secrets: Secrets) -> str:
    """Tells whether two attempts sent the same refresh token, by the key that sealed it. Raises `SealBroken`."""
    key = await sealer.keys.opening_key(life.workspace_id, life.tenant_id, credential.key_id)
    if key is None:
        raise SealBroken
    return fingerprint(key, secrets.refresh or "")


def reference(credential: Credential, generation: int | None = None) -> CredentialRef:
    """What may be said about it, under its own generation or the one it is about to get."""
    return CredentialRef(
        generation=credential.generation if generation is None else generation,
        issued_at=credential.issued_at,
        expires_at=credential.expires_at,
        refreshable=credential.sealed_refresh is not None,
        scopes=credential.scopes,
    )


async def with_its_rows(db: Database, life_id: str) -> tuple[Life, Credential, ProviderConfig] | None:
    """A life with its current credential and its config, in one select; None where one of them is not there."""
    rows = await db.rows(_WITH_ITS_ROWS, {"id": life_id})
    if not rows:
        return None
    columns = iter(rows[0])
    return as_read(Life, columns), as_read(Credential, columns), as_read(ProviderConfig, columns)


_WITH_ITS_ROWS = (
    sqlalchemy.select(*LIFE.c, *CREDENTIAL.c, *CONFIG.c)
    .join(CREDENTIAL, and_(CREDENTIAL.c.life_id == LIFE.c.id, CREDENTIAL.c.role == CURRENT))
    .join(CONFIG, CONFIG.c.id == LIFE.c.provider_config_id)
    .where(LIFE.c.id == bindparam("id"))
)


async def current(tx: AsyncSession, life_id: str) -> Credential | None:
    """The credential a life is served from."""
    query = select(Credential).where(Credential.life_id == life_id, Credential.role == CURRENT)
    return (await tx.exec(query)).first()


def is_withheld(credential: Credential | None) -> bool:
    """Whether the provider's API refused its access token, which is then not served."""
    return credential is not None and credential.refused_at is not None


async def newest(db: Database, limit: int) -> list[tuple[Life, Credential]]:
    """The credentials that were written last, with the lives that are served from them."""
    query = (
        select(Life, Credential)
        .join(Credential, col(Credential.life_id) == col(Life.id))
        .where(Credential.role == CURRENT, col(Credential.sealed_access).is_not(None), col(Life.deleted_at).is_(None))
        .order_by(col(Credential.issued_at).desc(), col(Life.id))
        .limit(limit)
    )
    async with db.reading() as tx:
        return [(life, credential) for life, credential in await tx.exec(query)]


async def candidate(tx: AsyncSession, life_id: str, session_id: str) -> Credential | None:
    """The credential an attempt brought, before it passed its checks."""
    query = select(Credential).where(
        Credential.life_id == life_id, Credential.role == CANDIDATE, Credential.session_id == session_id
    )
    return (await tx.exec(query)).first()


async def held(tx: AsyncSession, life_id: str) -> Sequence[Credential]:
    """What a deletion has to tell the provider of: the current credential, and what attempts brought."""
    return (await tx.exec(select(Credential).where(Credential.life_id == life_id))).all()


def new_candidate(
    life: Life,
    session_id: str,
    ref: CredentialRef,
    sealed: SealedSecrets,
) -> Credential:
    """A candidate row, to be added in the transaction that settles its ledger entry."""
    return Credential(
        id=new_id("cred"),
        life_id=life.id,
        session_id=session_id,
        role=CANDIDATE,
        generation=ref.generation,
        credential_type=OAUTH_TOKEN,
        key_id=sealed.key_id,
        sealed_access=sealed.access,
        sealed_refresh=sealed.refresh,
        scopes=ref.scopes,
        issued_at=ref.issued_at,
        expires_at=ref.expires_at,
    )


async def replace_current(tx: Tx, life: Life, seen_generation: int, ref: CredentialRef, sealed: SealedSecrets) -> bool:
    """Swap the current row's secret for a newer generation; False if another generation stands there (law 2)."""
    newer = {
        "generation": ref.generation,
        "key_id": sealed.key_id,
        "sealed_access": sealed.access,
        "sealed_refresh": sealed.refresh,
        "scopes": ref.scopes,
        "issued_at": ref.issued_at,
        "expires_at": ref.expires_at,
    }
    seen = {"seen_life_id": life.id, "seen_generation": seen_generation}
    written = await tx.exec(_REPLACE, params={**seen, **newer})
    return bool(written.rowcount == 1)


_NEWER = ("generation", "key_id", "sealed_access", "sealed_refresh", "scopes", "issued_at", "expires_at")
_REPLACE = (
    update(CREDENTIAL)
    .where(CREDENTIAL.c.life_id == bindparam("seen_life_id"), CREDENTIAL.c.role == CURRENT)
    .where(CREDENTIAL.c.generation == bindparam("seen_generation"))
    .values({name: bindparam(name) for name in _NEWER} | {"refused_at": None})
)


async def promote(tx: AsyncSession, accepted: Credential, ref: CredentialRef, sealed: SealedSecrets) -> None:
    """The atomic swap: the candidate becomes current under its new generation, what it replaces is destroyed."""
    await tx.exec(
        delete(Credential).where(col(Credential.life_id) == accepted.life_id, col(Credential.role) == CURRENT)
    )
    await tx.exec(
        update(Credential)
        .where(col(Credential.id) == accepted.id)
        .values(
            role=CURRENT,
            generation=ref.generation,
            key_id=sealed.key_id,
            sealed_access=sealed.access,
            sealed_refresh=sealed.refresh,
        )
        .execution_options(synchronize_session=False)
    )


async def mark_refused(tx: AsyncSession, life_id: str, generation: int, at: datetime | None) -> None:
    """The provider refused the access token itself, so it is not served any more; None: it is accepted again."""
    await tx.exec(
        update(Credential)
        .where(
            col(Credential.life_id) == life_id,
            col(Credential.role) == CURRENT,
            col(Credential.generation) == generation,
        )
        .values(refused_at=at)
        .execution_options(synchronize_session=False)
    )


async def destroy(tx: AsyncSession, life_id: str, *, session_id: str | None = None) -> None:
    """Destroy a life's secrets, or only the candidate an attempt brought."""
    statement = delete(Credential).where(col(Credential.life_id) == life_id)
    if session_id is not None:
        statement = statement.where(col(Credential.role) == CANDIDATE, col(Credential.session_id) == session_id)
    await tx.exec(statement)
