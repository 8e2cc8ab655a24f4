"""Retention: what is over is kept for so long, and then destroyed (semantics: Retention).

A few rows at a time, each few in a transaction of their own: nobody waits for them, and what ends it early leaves the
rest to the next time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy
from sqlalchemy import and_, exists, func, or_, tuple_
from sqlalchemy.orm import aliased
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from domain.life import ENDED, Status
from vault.database import Database
from vault.outbox import WAITING
from vault.tables import AuthSession, Credential, Event, Life, Outbox, SessionToken, TokenAttempt, Tombstone, Visit

AT_ONCE = 500
REST_SECONDS = 0.05
"""Between two batches: SQLite has one writer, and others want to be it."""

Batch = Callable[[AsyncSession], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Keep:
    """How long each kind of row is kept once it is over. What is not over is kept however old it is."""

    sessions: timedelta = timedelta(days=7)
    ledger: timedelta = timedelta(days=30)
    events: timedelta = timedelta(days=90)
    tombstones: timedelta = timedelta(days=30)


async def forget(db: Database, keep: Keep, now: datetime) -> Mapping[str, int]:
    """Destroy all that is over for longer than that; answers how many rows of each kind."""
    sessions, ledger, stones = now - keep.sessions, now - keep.ledger, now - keep.tombstones
    return {
        "events": await _events(db, now - keep.events),
        "ledger": await _all_of(db, partial(_ledger, ledger)) + await _all_of(db, partial(_ledger_of_deleted, stones)),
        "session_tokens": await _all_of(db, partial(_session_tokens, sessions)),
        "sessions": await _all_of(db, partial(_sessions, sessions))
        + await _all_of(db, partial(_sessions_of_deleted, stones)),
        "never_active": await _all_of(db, partial(_never_active, sessions)),
        "tombstones": await _all_of(db, partial(_deleted, stones)),
    }


async def _all_of(db: Database, batch: Batch) -> int:
    gone, some = 0, AT_ONCE
    while some == AT_ONCE:
        async with db.transaction() as tx:
            some = await batch(tx)
        gone += some
        await asyncio.sleep(REST_SECONDS)
    return gone


async def _session_tokens(before: datetime, tx: AsyncSession) -> int:
    """The last used one of each page is kept: that page may go on showing its buttons (`api.origins`)."""
    page = (col(SessionToken.workspace_id), col(SessionToken.opener_origin))
    used = col(SessionToken.used_at).is_not(None)
    last = sqlalchemy.select(*page, func.max(col(SessionToken.expires_at))).where(used).group_by(*page)
    needless = or_(~used, page[1] == "", tuple_(*page, col(SessionToken.expires_at)).not_in(last))
    return await _drop_some(tx, col(SessionToken.id), col(SessionToken.expires_at) < before, needless)


async def _sessions(before: datetime, tx: AsyncSession) -> int:
    return await _drop_sessions(tx, col(AuthSession.state).in_(ENDED), col(AuthSession.finished_at) < before)


async def _sessions_of_deleted(before: datetime, tx: AsyncSession) -> int:
    return await _drop_sessions(tx, col(AuthSession.life_id).in_(_deleted_before(before)))


async def _drop_sessions(tx: AsyncSession, *which: Any) -> int:
    ids = await _some(tx, AuthSession.id, *which)
    await _drop(tx, col(Visit.session_id), ids)
    await _drop(tx, col(AuthSession.id), ids)
    return len(ids)


async def _never_active(before: datetime, tx: AsyncSession) -> int:
    """Rows that a session was opened for and that nobody ever connected: whoever sees a page may make these.

    Locked before they are looked at: a session that is being opened locks its row first (`api.opening`).
    """
    old = (col(Life.status) == Status.PENDING, col(Life.deleted_at).is_(None), col(Life.updated_at) < before)
    opened = exists().where(col(AuthSession.life_id) == col(Life.id))
    sealed = exists().where(col(Credential.life_id) == col(Life.id))
    found = select(Life.id).where(*old, ~opened, ~sealed).limit(AT_ONCE).with_for_update(skip_locked=True)
    ids = (await tx.exec(found)).all()
    return (await tx.exec(delete(Life).where(col(Life.id).in_(ids), *old, ~opened, ~sealed))).rowcount


async def _ledger(before: datetime, tx: AsyncSession) -> int:
    """An attempt in doubt has no answer, so it stays."""
    resolved = (col(TokenAttempt.answered_at) < before, col(TokenAttempt.outcome).is_not(None))
    return await _drop_some(tx, col(TokenAttempt.id), *resolved)


async def _ledger_of_deleted(before: datetime, tx: AsyncSession) -> int:
    return await _drop_some(tx, col(TokenAttempt.id), col(TokenAttempt.life_id).in_(_deleted_before(before)))


def _deleted_before(before: datetime) -> SelectOfScalar[str]:
    """Lives whose tombstone is over: without one that a connection's row names, or whose events are still delivered."""
    dependent = aliased(Life)
    named = exists().where(col(dependent.installation_id) == col(Tombstone.life_id))
    queued = exists().where(col(Outbox.life_id) == col(Tombstone.life_id), *WAITING)
    return select(Tombstone.life_id).where(col(Tombstone.finished_at) < before, ~named, ~queued)


async def _deleted(before: datetime, tx: AsyncSession) -> int:
    """What is left of them but for their events, which have a time of their own."""
    ids = (await tx.exec(_deleted_before(before).limit(AT_ONCE))).all()
    await _drop(tx, col(Life.id), ids)
    await _drop(tx, col(Tombstone.life_id), ids)
    return len(ids)


async def _events(db: Database, before: datetime) -> int:
    """The oldest first, and no further than the first page that is all young: their order is nearly that of time.

    Never the newest: SQLite would count on from the one before it, and readers that ask for what follows miss that.
    """
    gone, after, more = 0, 0, True
    while more:
        async with db.transaction() as tx:
            newest = select(func.max(Event.sequence)).scalar_subquery()
            page = select(Event.sequence, Event.id, Event.created_at).where(
                col(Event.sequence) > after, col(Event.sequence) < newest
            )
            # Locked, as one that is queued anew is (`vault.outbox.replay`).
            locked = page.order_by(col(Event.sequence)).limit(AT_ONCE).with_for_update()
            rows = (await tx.exec(locked)).all()
            old = [id_ for _, id_, at in rows if at < before]
            gone += await _drop_events(tx, old)
        # One that a wrong clock dated ahead must not hide those behind it.
        more = bool(old) and len(rows) == AT_ONCE
        after = rows[-1][0] or 0 if more else after
        await asyncio.sleep(REST_SECONDS)
    return gone


async def _drop_events(tx: AsyncSession, ids: Sequence[str]) -> int:
    """What waits to be delivered is kept, and one that is queued anew meanwhile."""
    await tx.exec(delete(Outbox).where(col(Outbox.event_id).in_(ids), ~and_(*WAITING)))
    queued = exists().where(col(Outbox.event_id) == col(Event.id))
    return (await tx.exec(delete(Event).where(col(Event.id).in_(ids), ~queued))).rowcount


async def _drop_some(tx: AsyncSession, id_: Any, *which: Any) -> int:
    ids = await _some(tx, id_, *which)
    await _drop(tx, id_, ids)
    return len(ids)


async def _some(tx: AsyncSession, id_: Any, *which: Any) -> Sequence[str]:
    return (await tx.exec(select(id_).where(*which).limit(AT_ONCE))).all()


async def _drop(tx: AsyncSession, key: Any, values: Sequence[str]) -> None:
    if values:
        await tx.exec(delete(key.class_).where(key.in_(values)))
