"""The refresh ledger: what was sent to a token endpoint, and what came of it (law 3)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.ids import new_id
from vault.lives import allot_generation
from vault.tables import Life, TokenAttempt

REFRESH = "refresh"
EXCHANGE = "exchange"

SUCCEEDED = "succeeded"
NOT_SENT = "not_sent"
NOT_HANDLED = "not_handled"
REFUSED = "refused"
OPERATOR = "operator"
SUPERSEDED = "superseded"
UNKNOWN = "unknown"


async def unresolved(tx: AsyncSession, life_id: str, fingerprint: str) -> Sequence[TokenAttempt]:
    """Attempts with this refresh token whose answer we do not know, oldest first."""
    query = (
        select(TokenAttempt)
        .where(
            TokenAttempt.life_id == life_id,
            TokenAttempt.fingerprint == fingerprint,
            col(TokenAttempt.outcome).is_(None),
        )
        .order_by(col(TokenAttempt.started_at))
    )
    return (await tx.exec(query)).all()


async def in_doubt_until(tx: AsyncSession, life_id: str) -> datetime | None:
    """The end of the last lease among refreshes whose answer nobody knows; None where all is known."""
    query = (
        select(TokenAttempt.lease_until)
        .where(TokenAttempt.life_id == life_id, TokenAttempt.kind == REFRESH, col(TokenAttempt.outcome).is_(None))
        .order_by(col(TokenAttempt.lease_until).desc())
        .limit(1)
    )
    return (await tx.exec(query)).first()


async def in_doubt_since(tx: AsyncSession, life_id: str) -> datetime | None:
    """When the first refresh was sent whose answer nobody knows; None where all is known."""
    query = (
        select(TokenAttempt.started_at)
        .where(TokenAttempt.life_id == life_id, TokenAttempt.kind == REFRESH, col(TokenAttempt.outcome).is_(None))
        .order_by(col(TokenAttempt.started_at))
        .limit(1)
    )
    return (await tx.exec(query)).first()


async def open_attempt(
    tx: AsyncSession,
    life: Life,
    *,
    kind: str,
    fingerprint: str,
    now: datetime,
    lease: timedelta,
    session_id: str = "",
) -> TokenAttempt:
    """Commit the intent before the call: the generation it will write, the token it presents, how long it may take."""
    attempt = TokenAttempt(
        id=new_id("try"),
        life_id=life.id,
        session_id=session_id,
        kind=kind,
        generation=await allot_generation(tx, life),
        fingerprint=fingerprint,
        started_at=now,
        lease_until=now + lease,
    )
    tx.add(attempt)
    return attempt


async def resolve(tx: AsyncSession, attempt: TokenAttempt, outcome: str, now: datetime, code: str = "") -> None:
    """The provider's answer is known (or the request never left)."""
    await tx.exec(
        update(TokenAttempt)
        .where(col(TokenAttempt.id) == attempt.id)
        .values(outcome=outcome, answered_at=now, error_code=code)
        .execution_options(synchronize_session=False)
    )


async def release(tx: AsyncSession, attempt: TokenAttempt, now: datetime, code: str) -> None:
    """Sent, and no answer came: the attempt stays in doubt, but its lease ends, since nobody waits for it any more."""
    await tx.exec(
        update(TokenAttempt)
        .where(col(TokenAttempt.id) == attempt.id)
        .values(lease_until=now, error_code=code)
        .execution_options(synchronize_session=False)
    )


async def supersede(tx: AsyncSession, life_id: str, now: datetime) -> None:
    """A consent replaced the credential: what was sent of the one before is nobody's question any more."""
    await tx.exec(
        update(TokenAttempt)
        .where(
            col(TokenAttempt.life_id) == life_id, col(TokenAttempt.kind) == REFRESH, col(TokenAttempt.outcome).is_(None)
        )
        .values(outcome=SUPERSEDED, answered_at=now)
        .execution_options(synchronize_session=False)
    )


async def resolve_all(tx: AsyncSession, life_id: str, fingerprint: str, outcome: str, now: datetime) -> None:
    """Only the provider's own answer concludes: it settles every send of the same refresh token."""
    await tx.exec(
        update(TokenAttempt)
        .where(
            col(TokenAttempt.life_id) == life_id,
            col(TokenAttempt.fingerprint) == fingerprint,
            col(TokenAttempt.outcome).is_(None),
        )
        .values(outcome=outcome, answered_at=now)
        .execution_options(synchronize_session=False)
    )
