"""The refresh ledger: what was sent to a token endpoint, and what came of it (law 3)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy
from sqlalchemy import bindparam, exists, insert, update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.direct import DirectTransaction, Tx
from vault.ids import new_id
from vault.tables import ClientSecret, Life, ProviderConfig, TokenAttempt, plain

ATTEMPT, CONFIG = plain(TokenAttempt), plain(ProviderConfig)
REFRESH = "refresh"
EXCHANGE = "exchange"

SUCCEEDED = "succeeded"
NOT_SENT = "not_sent"
NOT_HANDLED = "not_handled"
REFUSED = "refused"
OPERATOR = "operator"
SUPERSEDED = "superseded"
UNKNOWN = "unknown"

ACCEPTED = (SUCCEEDED, REFUSED)
"""Of a refresh: the provider looked at the grant, so it had accepted the app."""


async def unresolved(tx: AsyncSession, life_id: str, fingerprint: str) -> Sequence[TokenAttempt]:
    """Attempts with this refresh token whose answer we do not know, oldest first."""
    return (await tx.exec(_UNRESOLVED, params=_sent(life_id, fingerprint))).all()


def _sent(life_id: str, fingerprint: str) -> dict[str, str]:
    return {"sent_life_id": life_id, "sent_fingerprint": fingerprint}


_OF_ONE_TOKEN = (
    ATTEMPT.c.life_id == bindparam("sent_life_id"),
    ATTEMPT.c.fingerprint == bindparam("sent_fingerprint"),
    ATTEMPT.c.outcome.is_(None),
)
_UNRESOLVED = select(TokenAttempt).where(*_OF_ONE_TOKEN).order_by(col(TokenAttempt.started_at))


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


async def refused_alone(tx: AsyncSession, life: Life) -> bool:
    """Whether the app, in the refreshes of this life, is refused while in others' it is accepted.

    True if, since the first such refusal of this life that no acceptance followed, another life's refresh was sent and
    accepted. What was sent before the present client secret came says nothing of it. The first refusal asks for one
    select by the life's index.
    """
    since = await _refused_since(tx, life)
    if since is None:
        return False
    others = (
        Life.provider_config_id == life.provider_config_id,
        Life.id != life.id,
        # What was accepted changed its row: after an hour of refusals few ledgers are looked into.
        Life.updated_at >= since,
    )
    accepted = (
        TokenAttempt.kind == REFRESH,
        col(TokenAttempt.outcome).in_(ACCEPTED),
        TokenAttempt.started_at > since,
    )
    query = select(TokenAttempt.id).join(Life, col(Life.id) == TokenAttempt.life_id).where(*others, *accepted).limit(1)
    return (await tx.exec(query)).first() is not None


async def _refused_since(tx: AsyncSession, life: Life) -> datetime | None:
    """When the app was first refused in a refresh of this life, since it was last accepted in one; None: it was not."""
    refreshes = (TokenAttempt.life_id == life.id, TokenAttempt.kind == REFRESH)
    last = select(func.max(TokenAttempt.started_at)).where(*refreshes, col(TokenAttempt.outcome).in_(ACCEPTED))
    accepted = (await tx.exec(last)).first()
    secret = (
        select(ClientSecret.created_at)
        .join(ProviderConfig, col(ProviderConfig.id) == ClientSecret.provider_config_id)
        .where(ProviderConfig.id == life.provider_config_id, ClientSecret.version == ProviderConfig.secret_version)
    )
    bounds = [at for at in (accepted, (await tx.exec(secret)).first()) if at is not None]
    refusals = select(func.min(TokenAttempt.answered_at)).where(
        *refreshes,
        TokenAttempt.outcome == OPERATOR,
        *(TokenAttempt.started_at >= at for at in bounds),
    )
    return (await tx.exec(refusals)).first()


async def open_attempt(
    tx: AsyncSession,
    life_id: str,
    *,
    kind: str,
    generation: int,
    fingerprint: str,
    now: datetime,
    lease: timedelta,
    session_id: str = "",
) -> TokenAttempt:
    """Commit the intent before the call: the generation it will write, the token it presents, how long it may take.

    The generation is one that was taken in this transaction.
    """
    attempt = TokenAttempt(**_begun(life_id, kind, generation, fingerprint, now, lease), session_id=session_id)
    await tx.exec(_OPEN, params=attempt.model_dump())
    return attempt


_OPEN = insert(ATTEMPT)


def _begun(
    life_id: str, kind: str, generation: int, fingerprint: str, now: datetime, lease: timedelta
) -> dict[str, Any]:
    return {
        "id": new_id("try"),
        "life_id": life_id,
        "kind": kind,
        "generation": generation,
        "fingerprint": fingerprint,
        "started_at": now,
        "lease_until": now + lease,
    }


async def open_unhindered(
    tx: DirectTransaction,
    life: Life,
    *,
    generation: int,
    fingerprint: str,
    now: datetime,
    lease: timedelta,
) -> TokenAttempt | None:
    """The same for a refresh, where no send of this token is unresolved and the config is not held; else None.

    The life's row is locked: a send that was committed before that is seen here.
    """
    begun = _begun(life.id, REFRESH, generation, fingerprint, now, lease)
    attempt = TokenAttempt.model_construct(**begun)  # to be read alone (`vault.tables.as_read`)
    values = {**attempt.model_dump(), **_sent(life.id, fingerprint), "config_id": life.provider_config_id}
    opened = await tx.exec(_OPEN_UNHINDERED, params=values)
    return attempt if opened.rowcount else None


_SENT = exists().where(*_OF_ONE_TOKEN)
_HELD = exists().where(CONFIG.c.id == bindparam("config_id"), CONFIG.c.held_until.is_not(None))
_OPEN_UNHINDERED = insert(ATTEMPT).from_select(
    ATTEMPT.c.keys(),
    sqlalchemy.select(*(bindparam(column.name, type_=column.type) for column in ATTEMPT.c)).where(~_SENT, ~_HELD),
)


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


async def resolve_all(tx: Tx, life_id: str, fingerprint: str, outcome: str, now: datetime) -> None:
    """Only the provider's own answer concludes: it settles every send of the same refresh token."""
    await tx.exec(_RESOLVE_ALL, params={**_sent(life_id, fingerprint), "outcome": outcome, "answered_at": now})


_RESOLVE_ALL = (
    update(ATTEMPT).where(*_OF_ONE_TOKEN).values(outcome=bindparam("outcome"), answered_at=bindparam("answered_at"))
)
