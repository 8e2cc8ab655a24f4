"""A provider's webhooks in the vault: who can have signed one, which were taken, and which lives to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, false, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import Kind
from domain.wakeup import LONG_PAST
from vault.database import Database
from vault.lives import is_serving
from vault.tables import InboundMessage, Life, ProviderConfig

MOST_CANDIDATES = 50
AT_ONCE = 1000
"""Lives that are marked in one transaction."""
REMEMBERED = timedelta(days=1, hours=1)
"""A day more than the longest tolerance: what comes again after it is too old by its own word."""
JUST_NOW = timedelta(seconds=5)
"""A life that was looked at is not looked at again before, however many messages come."""
SOON = timedelta(seconds=1)
"""What is due so soon is due: clocks of several machines differ."""
ANOTHER_VALUE = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose access a message is about: of an account or a site at a config; None does not narrow."""

    config: ProviderConfig
    account_id: str | None
    site_id: str | None


@dataclass(frozen=True, slots=True)
class Marked:
    """A page of lives that were marked. `woken`: those whose workflow does not know yet; `after`: the last id."""

    woken: Sequence[Life] = ()
    after: str | None = None


async def candidates(db: Database, provider_id: str, config_id: str | None = None) -> Sequence[ProviderConfig]:
    """The present configs of a provider that have a signing key, the oldest first: new ones displace none."""
    wanted = [
        col(ProviderConfig.provider_id) == provider_id,
        col(ProviderConfig.sealed_signing_key).is_not(None),
        col(ProviderConfig.deleted_at).is_(None),
    ]
    if config_id is not None:
        wanted.append(col(ProviderConfig.id) == config_id)
    oldest = (col(ProviderConfig.created_at), col(ProviderConfig.id))
    async with db.reading() as tx:
        query = select(ProviderConfig).where(*wanted).order_by(*oldest).limit(MOST_CANDIDATES)
        return (await tx.exec(query)).all()


async def take(db: Database, whose: Whose, message_id: str, now: datetime) -> Marked | None:
    """Take a message, and mark the first lives that it is about. None: it was taken before, also a moment ago."""
    message = InboundMessage(provider_config_id=whose.config.id, message_id=message_id, received_at=now)
    try:
        async with db.transaction() as tx:
            tx.add(message)
            await tx.flush()
            return await _mark(tx, whose, "", now)
    except IntegrityError:
        return None


async def mark_more(db: Database, whose: Whose, after: str, now: datetime) -> Marked:
    """Mark the next lives, those with ids behind `after`."""
    async with db.transaction() as tx:
        return await _mark(tx, whose, after, now)


async def forget(tx: AsyncSession, now: datetime) -> int:
    """Destroy what is remembered of old messages; answers how many."""
    old = delete(InboundMessage).where(col(InboundMessage.received_at) < now - REMEMBERED)
    return (await tx.exec(old)).rowcount


async def _mark(tx: AsyncSession, whose: Whose, after: str, now: datetime) -> Marked:
    """In the order of ids, so that nobody who locks several waits in a circle."""
    found = select(Life).where(_concerned(whose), col(Life.id) > after).order_by(col(Life.id)).limit(AT_ONCE)
    rows = (await tx.exec(found.with_for_update().execution_options(populate_existing=True))).all()
    woken = [life for life in rows if bring_forward(life, now)]
    return Marked(woken, rows[-1].id if len(rows) == AT_ONCE else None)


def bring_forward(life: Life, now: datetime, rest: timedelta = JUST_NOW) -> bool:
    """Have a locked life checked up, `rest` after its last check-up at the earliest.

    False if its workflow is about to do so anyway; one that is under way by then is followed by another.
    """
    planned, quiet = life.probe_at, (life.probed_at or LONG_PAST) + rest
    at = max(now, quiet)
    if planned is None or planned > at + SOON:
        life.probe_at = at
        return True
    if planned <= now + SOON:
        # It may be under way, with an answer older than what we were told: at another value it looks again.
        life.probe_at = max(planned + ANOTHER_VALUE, quiet)
    return False


def _concerned(whose: Whose) -> ColumnElement[bool]:
    config = whose.config
    theirs = [
        column == value
        for column, value in ((col(Life.account_id), whose.account_id), (col(Life.site_id), whose.site_id))
        if value
    ]
    return (
        (col(Life.workspace_id) == config.workspace_id)
        & col(Life.kind).in_(list(Kind))
        & (col(Life.provider_config_id) == config.id)
        & is_serving()
        & or_(false(), *theirs)
    )
