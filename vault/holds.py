"""The hold of a provider config: while the provider refuses the builder's app, or fails for all, nobody tries in vain.

Lives are locked first, then rows of the ledger, and the config last: two never wait in a circle.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, not_, or_
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from domain.holds import HoldKind, is_outage, kind_of, pause, wait_of
from vault.database import Database
from vault.direct import DirectTransaction
from vault.events import append_config_event, config_told_since
from vault.lives import is_serving
from vault.tables import Life, ProviderConfig

WELL = "ok"
MOST_RELEASED = 100_000
"""Ids of one release that are held in memory; what is left over is due still, and released after them."""


class Leave(Enum):
    """On what terms one may call as an app."""

    FREE = "free"
    SCOUT = "scout"
    """The only one of those who wait for the end of the hold."""


async def may_try(tx: AsyncSession, config_id: str, now: datetime, until: datetime) -> Leave | None:
    """Whether to call as this app. Of those who waited for the end of a hold one goes first, the others until then.

    Nothing is written where nothing was held, as on almost every refresh.
    """
    held_until = (await tx.exec(_HELD_UNTIL, params={"id": config_id})).first()
    if held_until is None:
        return Leave.FREE
    over = (
        col(ProviderConfig.id) == config_id,
        col(ProviderConfig.held_until) == held_until,
        col(ProviderConfig.held_until) <= now,
    )
    claimed = (await tx.exec(update(ProviderConfig).where(*over).values(held_until=until))).rowcount
    return Leave.SCOUT if claimed else None


_HELD_UNTIL = select(ProviderConfig.held_until).where(col(ProviderConfig.id) == bindparam("id"))


def waits_until(config: ProviderConfig, life_id: str, now: datetime, due_at: datetime | None = None) -> datetime | None:
    """Until when a life waits for a held config, unless it is woken; None if it may try. `due_at` as in its row."""
    if config.held_until is None or config.held_until <= now:
        return None
    return wait_of(life_id, config.held_until, now, due_at)


async def misconfigured(tx: AsyncSession, config: ProviderConfig, now: datetime, reason: str) -> datetime | None:
    """The provider refused the app: an operator's failure, told once, for which no connection is blamed.

    The answer is when the next one may try. None if the client secret was replaced since `config` was read: the
    refusal was of the one before.
    """
    row = await _locked(tx, config.id, col(ProviderConfig.secret_version) == config.secret_version)
    if row is None:
        return None
    told = row.hold_kind == HoldKind.MISCONFIGURED  # as stored: a worker that knew no kinds told nobody
    until = _hold(row, HoldKind.MISCONFIGURED, now, reason)
    if not told:
        await append_config_event(tx, row, "misconfigured", now, old=WELL, new=HoldKind.MISCONFIGURED, reason=reason)
    return until


async def began_to_fail(
    tx: AsyncSession, config_id: str, now: datetime, reason: str, retry_after: float | None
) -> datetime | None:
    """A life stumbled for the first time in a row; with so many others that it is an outage, the config is held.

    The answer is when the next one may try, if the hold began just now.
    """
    counted = update(ProviderConfig).where(col(ProviderConfig.id) == config_id)
    await tx.exec(counted.values(stumbled=col(ProviderConfig.stumbled) + 1))
    row = await _locked(tx, config_id, not_(is_held()))
    if row is None or not is_outage(row.stumbled):
        return None
    return _hold(row, HoldKind.OUTAGE, now, reason, retry_after)


async def scout_failed(
    tx: AsyncSession, config_id: str, now: datetime, reason: str, retry_after: float | None
) -> datetime | None:
    """The one that went first did not get through: the hold goes on, longer. None if it ended meanwhile."""
    row = await _locked(tx, config_id, is_held())
    if row is None:
        return None
    kind = kind_of(row.hold_kind, row.held_until)
    if kind is HoldKind.OUTAGE:
        return _hold(row, kind, now, reason, retry_after)
    # Nothing was learned of the app, so this counts as no refusal of it: the next one goes as soon as after an outage.
    # A hold without a kind keeps none: whoever is refused in it is the first to be told of.
    row.held_until = now + pause(HoldKind.OUTAGE, 1, retry_after)
    return row.held_until


async def clear(tx: AsyncSession, config_id: str, now: datetime, sent_at: datetime) -> bool:
    """The app works: what was sent at `sent_at` was accepted. Nothing is written where nothing was held, as mostly.

    What was sent before the app was refused does not end that hold: the client secret may have gone bad in between.
    The answer is whether a hold ended, which those who wait are to be told.
    """
    row = (await tx.exec(_clearable(), params={"id": config_id})).first()
    if row is None:
        return False
    if row.hold_kind == HoldKind.MISCONFIGURED and await config_told_since(tx, row, "misconfigured", sent_at):
        return False
    return await let_go(tx, row, now, row.held_reason)


async def is_clear(tx: DirectTransaction, config_id: str) -> bool:
    """Whether `clear` has nothing to do."""
    return not (await tx.exec(_marked(), params={"id": config_id})).rows


@cache
def _marked() -> Select[Any]:
    return select(ProviderConfig.id).where(col(ProviderConfig.id) == bindparam("id"), _is_marked())


def _is_marked() -> ColumnElement[bool]:
    return or_(is_held(), col(ProviderConfig.stumbled) > 0)


async def let_go(tx: AsyncSession, row: ProviderConfig, now: datetime, reason: str) -> bool:
    """End the hold of a locked row, if there is one; `recovered` is told only where `misconfigured` was.

    A worker that knew no kinds told nobody, and left none in the row.
    """
    kind, told = kind_of(row.hold_kind, row.held_until), row.hold_kind == HoldKind.MISCONFIGURED
    row.hold_kind, row.hold_tries, row.stumbled, row.held_until, row.held_reason = HoldKind.NONE.value, 0, 0, None, ""
    if told:
        await append_config_event(tx, row, "recovered", now, old=kind, new=WELL, reason=reason)
    return bool(kind)


# --- for the release ------------------------------------------------------------------------------------------------


async def held(db: Database) -> Sequence[ProviderConfig]:
    """Every config that is held, whether or not its next try is due."""
    async with db.reading() as tx:
        return (await tx.exec(select(ProviderConfig).where(is_held(), col(ProviderConfig.deleted_at).is_(None)))).all()


async def state_of(db: Database, config_id: str) -> ProviderConfig | None:
    """The config as it stands, unless it was deleted."""
    this = (col(ProviderConfig.id) == config_id, col(ProviderConfig.deleted_at).is_(None))
    async with db.reading() as tx:
        return (await tx.exec(select(ProviderConfig).where(*this))).first()


async def holds_still(db: Database, config_id: str) -> bool:
    """Whether the config is held just now: one select of one row."""
    return bool(await db.rows(_holds_still(), {"id": config_id}))


@cache
def _holds_still() -> Select[Any]:
    return select(ProviderConfig.id).where(col(ProviderConfig.id) == bindparam("id"), is_held())


async def count_due(db: Database, config_id: str, now: datetime) -> int:
    """How many lives of the config wait for its release."""
    async with db.reading() as tx:
        return (await tx.exec(select(func.count()).select_from(Life).where(_due(config_id, now)))).one()


async def next_due_at(db: Database, config_id: str) -> datetime | None:
    """When the first life of the config is due, past or to come; None if none ever is."""
    query = select(func.min(col(Life.next_due_at))).where(_refreshable(config_id))
    async with db.reading() as tx:
        return (await tx.exec(query)).first()


async def scout(db: Database, config_id: str, now: datetime, turn: int) -> Life | None:
    """The due life to send first: the one whose token ends first, another one each turn. None if none is due.

    One that failed before may be in doubt and not allowed to send, so those that did not go before it.
    """
    query = select(Life).where(_due(config_id, now)).order_by(col(Life.failures) > 0, *_earliest()).limit(1)
    async with db.reading() as tx:
        of = (await tx.exec(select(func.count()).select_from(Life).where(_due(config_id, now)))).one()
        return (await tx.exec(query.offset(turn % of))).first() if of else None


async def in_order_of_release(db: Database, config_id: str, now: datetime) -> Sequence[str]:
    """Ids of the due lives: the tenants by turns, and of each its token that ends first."""
    turn = func.row_number().over(partition_by=col(Life.tenant_id), order_by=_earliest())
    query = select(Life.id).where(_due(config_id, now)).order_by(turn, *_earliest()).limit(MOST_RELEASED)
    async with db.reading() as tx:
        return (await tx.exec(query)).all()


async def still_due(db: Database, life_ids: Sequence[str], now: datetime) -> Sequence[Life]:
    """Those of a page of ids that nobody has refreshed meanwhile, in the order of the ids."""
    async with db.reading() as tx:
        rows = (await tx.exec(select(Life).where(col(Life.id).in_(life_ids), col(Life.next_due_at) <= now))).all()
    place = {life_id: at for at, life_id in enumerate(life_ids)}
    return sorted(rows, key=lambda life: place[life.id])


def is_held() -> ColumnElement[bool]:
    """As `domain.holds.kind_of`, for a query."""
    return or_(col(ProviderConfig.hold_kind) != HoldKind.NONE, col(ProviderConfig.held_until).is_not(None))


def _refreshable(config_id: str) -> ColumnElement[bool]:
    return and_(col(Life.provider_config_id) == config_id, is_serving(), col(Life.next_due_at).is_not(None))


def _due(config_id: str, now: datetime) -> ColumnElement[bool]:
    return and_(_refreshable(config_id), col(Life.next_due_at) <= now)


def _earliest() -> tuple[Any, Any]:
    return func.coalesce(col(Life.expires_at), col(Life.next_due_at)), col(Life.id)


def _hold(
    row: ProviderConfig, kind: HoldKind, now: datetime, reason: str, retry_after: float | None = None
) -> datetime:
    """A hold of another kind begins anew."""
    row.hold_tries = row.hold_tries + 1 if row.hold_kind == kind else 1
    row.hold_kind, row.held_reason = kind.value, reason
    row.held_until = now + pause(kind, row.hold_tries, retry_after)
    return row.held_until


async def _locked(tx: AsyncSession, config_id: str, *conditions: ColumnElement[bool]) -> ProviderConfig | None:
    return (await tx.exec(_one(*conditions), params={"id": config_id})).first()


def _one(*conditions: ColumnElement[bool]) -> SelectOfScalar[ProviderConfig]:
    query = select(ProviderConfig).where(col(ProviderConfig.id) == bindparam("id"), *conditions).with_for_update()
    return query.execution_options(populate_existing=True)


@cache
def _clearable() -> SelectOfScalar[ProviderConfig]:
    return _one(_is_marked())
