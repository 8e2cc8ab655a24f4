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

from sqlalchemy import and_, exists, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import ENDED
from vault.database import Database
from vault.outbox import WAITING
from vault.tables import AuthSession, Event, Life, Outbox, SessionToken, TokenAttempt, Tombstone, Visit

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
    tokens, sessions = partial(_session_tokens, now - keep.sessions), partial(_sessions, now - keep.sessions)
    ledger, stones = partial(_ledger, now - keep.ledger), partial(_deleted, now - keep.tombstones)
    return {
        "session_tokens": await _all_of(db, tokens),
        "sessions": await _all_of(db, sessions),
        "ledger": await _all_of(db, ledger),
        "tombstones": await _all_of(db, stones),
        "events": await _events(db, now - keep.events),
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
    """A used one that names a page is kept: that page may go on showing its buttons (`api.origins`)."""
    needless = or_(col(SessionToken.used_at).is_(None), col(SessionToken.opener_origin) == "")
    ids = await _some(tx, SessionToken.id, col(SessionToken.expires_at) < before, needless)
    await _drop(tx, col(SessionToken.id), ids)
    return len(ids)


async def _sessions(before: datetime, tx: AsyncSession) -> int:
    ended = (col(AuthSession.state).in_(ENDED), col(AuthSession.finished_at) < before)
    ids = await _some(tx, AuthSession.id, *ended)
    await _drop_sessions(tx, ids)
    return len(ids)


async def _drop_sessions(tx: AsyncSession, ids: Sequence[str]) -> None:
    await _drop(tx, col(Visit.session_id), ids)
    await _drop(tx, col(AuthSession.id), ids)


async def _ledger(before: datetime, tx: AsyncSession) -> int:
    """An attempt in doubt has no answer, so it stays."""
    resolved = (col(TokenAttempt.answered_at) < before, col(TokenAttempt.outcome).is_not(None))
    ids = await _some(tx, TokenAttempt.id, *resolved)
    await _drop(tx, col(TokenAttempt.id), ids)
    return len(ids)


async def _deleted(before: datetime, tx: AsyncSession) -> int:
    """The tombstone and all else that is left of the life, but for its events, which have a time of their own.

    An installation's row stays as long as one of its connections'.
    """
    dependent = aliased(Life)
    alone = ~exists().where(col(dependent.installation_id) == col(Tombstone.life_id))
    ids = await _some(tx, Tombstone.life_id, col(Tombstone.finished_at) < before, alone)
    await _drop_sessions(tx, (await tx.exec(select(AuthSession.id).where(col(AuthSession.life_id).in_(ids)))).all())
    await _drop(tx, col(TokenAttempt.life_id), ids)
    await _drop(tx, col(Life.id), ids)
    await _drop(tx, col(Tombstone.life_id), ids)
    return len(ids)


async def _events(db: Database, before: datetime) -> int:
    """The oldest first, and no further than the first page that is young: their order is that of time.

    Never the newest: SQLite would count on from the one before it, and readers that ask for what follows miss that.
    """
    gone, after, more = 0, 0, True
    while more:
        async with db.transaction() as tx:
            newest = select(func.max(Event.sequence)).scalar_subquery()
            page = select(Event.sequence, Event.id, Event.created_at).where(
                col(Event.sequence) > after, col(Event.sequence) < newest
            )
            rows = (await tx.exec(page.order_by(col(Event.sequence)).limit(AT_ONCE))).all()
            old = [(sequence, id_) for sequence, id_, at in rows if at < before]
            gone += await _drop_events(tx, [id_ for _, id_ in old])
        more = len(old) == AT_ONCE
        after = old[-1][0] or 0 if more else after
        await asyncio.sleep(REST_SECONDS)
    return gone


async def _drop_events(tx: AsyncSession, ids: Sequence[str]) -> int:
    """What waits to be delivered is kept, and one that is queued anew meanwhile."""
    await tx.exec(delete(Outbox).where(col(Outbox.event_id).in_(ids), ~and_(*WAITING)))
    queued = exists().where(col(Outbox.event_id) == col(Event.id))
    return (await tx.exec(delete(Event).where(col(Event.id).in_(ids), ~queued))).rowcount


async def _some(tx: AsyncSession, id_: Any, *which: Any) -> Sequence[str]:
    return (await tx.exec(select(id_).where(*which).limit(AT_ONCE))).all()


async def _drop(tx: AsyncSession, key: Any, values: Sequence[str]) -> None:
    if values:
        await tx.exec(delete(key.class_).where(key.in_(values)))
