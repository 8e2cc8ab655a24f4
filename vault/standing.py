"""How the vault stands, in numbers: one moment of it, counted by provider. For those who look at all lives at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.holds import HoldKind
from domain.life import Status
from vault.database import Database
from vault.holds import is_held
from vault.ledger import REFRESH
from vault.outbox import WAITING
from vault.reconciling import is_overdue
from vault.tables import Life, Outbox, ProviderConfig, TokenAttempt, WebhookEndpoint

ACTIVE, DEGRADED, NEEDS_REAUTH, DELETING = STATES = ("active", "degraded", "needs_reauth", "deleting")
HELD = (HoldKind.OUTAGE.value, HoldKind.MISCONFIGURED.value)


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts by (provider, kind of life, state), by provider, and by (provider, kind of hold); how long events wait."""

    connections: Mapping[tuple[str, ...], int]
    overdue: Mapping[str, int]
    in_doubt: Mapping[str, int]
    held: Mapping[tuple[str, ...], int]
    waiting: int
    lag: timedelta


async def standing(db: Database, now: datetime) -> Standing:
    """Count. It reads every row of lives once, and of all else only what is open."""
    async with db.reading() as tx:
        oldest, waiting = (await _rows(tx, _waiting()))[0]
        return Standing(
            connections={(p, kind, state): n for p, kind, state, n in await _rows(tx, _connections())},
            overdue=dict(await _rows(tx, _overdue(now))),
            in_doubt={provider: int(n) for provider, n in await _rows(tx, _in_doubt(now)) if n},
            held={(provider, kind): n for provider, kind, n in await _rows(tx, _held())},
            waiting=waiting,
            lag=max(now - oldest, timedelta(0)) if oldest else timedelta(0),
        )


def _connections() -> Select[*tuple[Any, ...]]:
    serving = col(Life.status) == Status.ACTIVE
    state: ColumnElement[str] = case(
        (col(Life.deleted_at).is_not(None), DELETING),
        (serving & (col(Life.health) != "ok"), DEGRADED),
        (serving, ACTIVE),
        else_=NEEDS_REAUTH,
    )
    # One that was never active is no connection yet; a revoked one is none any more.
    counted = col(Life.status).in_((Status.ACTIVE, Status.NEEDS_REAUTH))
    by = (col(Life.provider_id), col(Life.kind), state.label("state"))
    return select(*by, func.count()).where(counted).group_by(col(Life.provider_id), col(Life.kind), "state")


def _overdue(now: datetime) -> Select[*tuple[Any, ...]]:
    provider = col(Life.provider_id)
    return select(provider, func.count()).where(*is_overdue(now)).group_by(provider)


def _in_doubt(now: datetime) -> Select[*tuple[Any, ...]]:
    """By way of the lives that have allotted a generation beyond their own: the ledger itself may be long."""
    open_sends = (
        select(func.count())
        .select_from(TokenAttempt)
        .where(
            col(TokenAttempt.life_id) == col(Life.id),
            col(TokenAttempt.kind) == REFRESH,
            col(TokenAttempt.outcome).is_(None),
            col(TokenAttempt.lease_until) <= now,
        )
        .scalar_subquery()
    )
    ahead = col(Life.next_generation) > col(Life.generation) + 1
    living = (col(Life.deleted_at).is_(None), col(Life.status) == Status.ACTIVE)
    provider = col(Life.provider_id)
    return select(provider, func.sum(open_sends)).where(*living, ahead).group_by(provider)


def _held() -> Select[*tuple[Any, ...]]:
    provider = col(ProviderConfig.provider_id)
    stored = col(ProviderConfig.hold_kind)
    kind = case((stored == "", HoldKind.MISCONFIGURED.value), else_=stored)  # as `domain.holds.kind_of`
    there = (is_held(), col(ProviderConfig.deleted_at).is_(None))
    return select(provider, kind.label("kind"), func.count()).where(*there).group_by(provider, "kind")


def _waiting() -> Select[*tuple[Any, ...]]:
    listening = select(col(WebhookEndpoint.workspace_id)).where(col(WebhookEndpoint.disabled_at).is_(None))
    theirs = col(Outbox.workspace_id).in_(listening)
    return select(func.min(col(Outbox.created_at)), func.count()).where(theirs, *WAITING)


async def _rows(tx: AsyncSession, query: Select[*tuple[Any, ...]]) -> list[Any]:
    found: Any = await tx.exec(cast("Any", query))
    return list(found.all())
