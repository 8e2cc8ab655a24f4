"""What the vault says should run, and what is overdue: the rows that reconciling compares the engine with."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

from sqlalchemy import ColumnElement, and_, exists, func, or_, update
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import ENDED, Kind, Status
from vault.credentials import CURRENT
from vault.database import Database
from vault.holds import is_held
from vault.lives import is_serving
from vault.paging import PAGE, Page, Place, behind, in_order, page_of
from vault.tables import AuthSession, Credential, Life, ProviderConfig

OVERDUE = timedelta(minutes=5)
OVERDUE_WITHOUT = timedelta(minutes=1)
"""For one whose credential has ended: its readers go without until somebody wakes it."""
PROBE_PATIENCE = timedelta(seconds=10)


async def living(db: Database, after: Place | None = None, size: int = PAGE) -> Page[Life]:
    """Rows that a workflow must own, the one that is due first at the front.

    A life that was never active counts only while somebody may still come back to a session of it; one that is
    deleted, until its secret is destroyed.
    """
    return await _lives(db, [_lives_on()], col(Life.next_due_at), after, size)


async def count_living(db: Database) -> int:
    """How many those are."""
    async with db.reading() as tx:
        return (await tx.exec(select(func.count()).select_from(Life).where(_lives_on()))).one()


async def overdue(db: Database, now: datetime, after: Place | None = None, size: int = PAGE) -> Page[Life]:
    """Rows whose refresh was due long ago, without those that a hold keeps from it."""
    return await _lives(db, is_overdue(now), col(Life.next_due_at), after, size)


def is_overdue(now: datetime) -> Sequence[ColumnElement[bool]]:
    """The conditions on such rows."""
    free = or_(col(Life.held_until).is_(None), col(Life.held_until) <= now)
    late = col(Life.next_due_at) < now - OVERDUE
    without = and_(col(Life.next_due_at) < now - OVERDUE_WITHOUT, col(Life.expires_at) <= now)
    return [is_serving(), free, _config_free(), or_(late, without)]


async def count_overdue(db: Database, now: datetime) -> int:
    """How many those are."""
    async with db.reading() as tx:
        return (await tx.exec(select(func.count()).select_from(Life).where(*is_overdue(now)))).one()


async def to_probe(db: Database, now: datetime, after: Place | None = None, size: int = PAGE) -> Page[Life]:
    """Rows whose provider should have been asked ten seconds ago whether the credential still works."""
    due = [is_serving(), _config_free(), col(Life.probe_at) < now - PROBE_PATIENCE]
    return await _lives(db, due, col(Life.probe_at), after, size)


async def cut_off(db: Database, after: Place | None = None, size: int = PAGE) -> Page[Life]:
    """Living connections whose installation is deleted."""
    installation = aliased(Life)
    gone = exists().where(col(installation.id) == col(Life.installation_id), col(installation.deleted_at).is_not(None))
    wanted = [col(Life.kind) == Kind.CONNECTION, col(Life.deleted_at).is_(None), gone]
    return await _lives(db, wanted, col(Life.created_at), after, size)


async def at_odds(db: Database, after: Place | None = None, size: int = PAGE) -> Page[Life]:
    """Rows that name another generation than their current credential has, or that serve without having one."""
    theirs = and_(col(Credential.life_id) == col(Life.id), col(Credential.role) == CURRENT)
    differs = or_(
        col(Credential.generation) != col(Life.generation),
        and_(col(Credential.id).is_(None), col(Life.status) == Status.ACTIVE),
    )
    query = (
        select(Life)
        .outerjoin(Credential, theirs)
        .where(col(Life.deleted_at).is_(None), differs, *behind(after, col(Life.created_at), col(Life.id)))
        .order_by(*in_order(col(Life.created_at), col(Life.id)))
        .limit(size + 1)
    )
    async with db.reading() as tx:
        rows = (await tx.exec(query)).all()
    return page_of(rows, size, lambda life: Place(life.created_at, life.id))


async def statuses(db: Database, life_ids: Iterable[str]) -> Mapping[str, Status]:
    """The status of each of these lives that has a row; ask for a page of them at most."""
    query = select(Life.id, Life.status).where(col(Life.id).in_(list(life_ids)))
    async with db.reading() as tx:
        return {life_id: Status(status) for life_id, status in (await tx.exec(query)).all()}


async def rows_of(db: Database, life_ids: Iterable[str]) -> Sequence[Life]:
    """The rows of these lives as they stand; ask for a page of them at most."""
    async with db.reading() as tx:
        return (await tx.exec(select(Life).where(col(Life.id).in_(list(life_ids))))).all()


def _lives_on() -> ColumnElement[bool]:
    awaited = exists().where(col(AuthSession.life_id) == col(Life.id), col(AuthSession.state).not_in(ENDED))
    begun = or_(col(Life.status) != Status.PENDING, col(Life.deleted_at).is_not(None), awaited)
    return and_(col(Life.status) != Status.REVOKED, begun)


def _config_free() -> ColumnElement[bool]:
    """Its breaker wakes the lives of a held config, and it alone."""
    return ~exists().where(col(ProviderConfig.id) == col(Life.provider_config_id), is_held())


async def _lives(
    db: Database, wanted: Sequence[ColumnElement[bool]], at: Any, after: Place | None, size: int
) -> Page[Life]:
    query = (
        select(Life)
        .where(*wanted, *behind(after, at, col(Life.id)))
        .order_by(*in_order(at, col(Life.id)))
        .limit(size + 1)
    )
    async with db.reading() as tx:
        rows = (await tx.exec(query)).all()
    return page_of(rows, size, lambda life: Place(getattr(life, at.key), life.id))


async def schedule_checkups(tx: AsyncSession, now: datetime, within: timedelta, size: int) -> int:
    """Give serving rows of an earlier version their first check-up, spread over `within`; answers how many."""
    unplanned = select(Life.id).where(is_serving(), col(Life.probe_at).is_(None)).limit(size)
    ids = (await tx.exec(unplanned)).all()
    for life_id in ids:
        at = now + within * (crc32(life_id.encode()) / 2**32)
        await tx.exec(update(Life).where(col(Life.id) == life_id, col(Life.probe_at).is_(None)).values(probe_at=at))
    return len(ids)
