"""The outbox: which events may go out now, in order for each subject, and what became of them.

A subject is a life or a provider config. Only the oldest event of a subject that waits, its head, may go out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CTE, ColumnElement, Select, func, select
from sqlmodel import col, delete, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.delivery import LONGEST_PAUSE, MOMENTARY, is_dead
from vault.columns import UtcDateTime
from vault.tables import Event, Life, Outbox, ProviderConfig, WebhookEndpoint

LEASE = timedelta(seconds=30)
"""How long a claimed event is left to whoever claimed it; longer than one attempt may take."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An event that is being delivered, and who it is about. `attempts` counts this one."""

    event: Event
    attempts: int
    first_attempt_at: datetime
    provider_id: str = ""
    tenant_id: str = ""
    user_id: str = ""


async def claim(
    tx: AsyncSession, workspace_id: str, now: datetime, limit: int, *, early: bool = False
) -> list[Claimed]:
    """Take heads that are due, the longest due first. Each is this caller's alone until its lease is over.

    `early`: one that waits for another try will do as well, to find out whether the endpoint is back.
    The attempt is counted before it is made, so that an event which kills whoever sends it is given up some day too.
    """
    heads = _heads(_of(workspace_id))
    asked = (
        select(Outbox, Event, Life, col(ProviderConfig.provider_id))
        .select_from(heads)
        .join(Event, col(Event.sequence) == heads.c.sequence)
        .join(Outbox, col(Outbox.event_id) == col(Event.id))
        .outerjoin(Life, col(Life.id) == col(Event.life_id))
        .outerjoin(ProviderConfig, col(ProviderConfig.id) == col(Event.provider_config_id))
        .where(_free(now, early))
        .order_by(_due_at, col(Event.sequence))
        .limit(limit)
    )
    # The update that takes a row writes into `row` as well.
    due = [
        (_claimed(row, event, life, provider_id, now), row) for row, event, life, provider_id in await _all(tx, asked)
    ]
    return [claimed for claimed, row in due if await _take(tx, row, now, early)]


async def delivered(tx: AsyncSession, claimed: Claimed, now: datetime) -> None:
    """The receiver has it; said twice, the first time stands."""
    mine = (col(Outbox.event_id) == claimed.event.id, col(Outbox.delivered_at).is_(None))
    await tx.exec(
        update(Outbox).where(*mine).values(delivered_at=now, dead_at=None, next_attempt_at=None, last_error="")
    )


async def failed(
    tx: AsyncSession, claimed: Claimed, now: datetime, error: str, wait: timedelta, patience: timedelta
) -> bool:
    """Try it again after `wait`, or give it up; False if somebody else has taken it up meanwhile."""
    dead = is_dead(claimed.first_attempt_at, now, patience)
    when: dict[str, Any] = {"dead_at": now, "next_attempt_at": None} if dead else {"next_attempt_at": now + wait}
    outcome = update(Outbox).where(*_mine(claimed)).values(last_error=error, **when)
    return bool((await tx.exec(outcome)).rowcount)


async def put_back(tx: AsyncSession, claimed: Claimed, error: str) -> None:
    """As if it had not been tried: the endpoint wants none at all."""
    values = {"attempts": claimed.attempts - 1, "next_attempt_at": None, "last_error": error}
    await tx.exec(update(Outbox).where(*_mine(claimed)).values(**values))


async def release(tx: AsyncSession, workspace_id: str, now: datetime) -> None:
    """The endpoint is back: what waits for another try need not wait any longer. What is under way is left alone."""
    later = col(Outbox.next_attempt_at) > now + LEASE
    await tx.exec(update(Outbox).where(_of(workspace_id), *WAITING, later).values(next_attempt_at=now))


async def hasten(tx: AsyncSession, workspace_id: str, now: datetime) -> None:
    """The endpoint takes events: what failed for a moment's reason waits minutes from now on, not hours.

    Not at once, for then an event that is answered by 500 each time would be sent again after every success. What the
    receiver refused, by a 4xx of its own, keeps its wait.
    """
    in_minutes, error = now + LONGEST_PAUSE, col(Outbox.last_error)
    refused = error.startswith("status_4", autoescape=True) & error.not_in(MOMENTARY)
    later = (col(Outbox.next_attempt_at) > in_minutes, ~refused)
    await tx.exec(update(Outbox).where(_of(workspace_id), *WAITING, *later).values(next_attempt_at=in_minutes))


async def restart(tx: AsyncSession, workspace_id: str) -> None:
    """Another endpoint: what waits has failed nowhere yet."""
    values = {"attempts": 0, "first_attempt_at": None, "next_attempt_at": None, "last_error": ""}
    await tx.exec(update(Outbox).where(_of(workspace_id), *WAITING).values(**values))


async def drop(tx: AsyncSession, workspace_id: str) -> None:
    """Nobody is to be told any more: what waits leaves the queue. The events themselves stay."""
    await tx.exec(delete(Outbox).where(_of(workspace_id), *WAITING))


async def replay(tx: AsyncSession, event: Event) -> Outbox | None:
    """Queue an event anew, whatever became of it; None if it was forgotten just now (`vault.retention`).

    Until it is through, later ones of its subject wait behind it.
    """
    if await tx.get(Event, event.sequence, with_for_update=True, populate_existing=True) is None:
        return None
    row = await tx.get(Outbox, event.id, with_for_update=True)
    if row is None:
        subject = event.life_id or event.provider_config_id
        row = Outbox(event_id=event.id, workspace_id=event.workspace_id, life_id=subject, created_at=event.created_at)
    row.attempts, row.last_error = 0, ""
    row.first_attempt_at = row.next_attempt_at = row.delivered_at = row.dead_at = None
    tx.add(row)
    return row


async def next_due(tx: AsyncSession, workspace_id: str) -> datetime | None:
    """When the next head is due; None if nothing waits."""
    heads = _heads(_of(workspace_id))
    earliest = (
        select(func.min(_due_at))
        .select_from(heads)
        .join(Event, col(Event.sequence) == heads.c.sequence)
        .join(Outbox, col(Outbox.event_id) == col(Event.id))
    )
    at: datetime | None = (await _all(tx, earliest))[0][0]
    return at


async def overdue_workspaces(
    tx: AsyncSession, before: datetime, now: datetime, *, after: str = "", limit: int = 100
) -> list[str]:
    """Workspaces whose endpoint takes events and that have a head which was due by `before`, in order of id."""
    listening = (
        col(WebhookEndpoint.disabled_at).is_(None),
        col(WebhookEndpoint.paused_until).is_(None) | (col(WebhookEndpoint.paused_until) <= now),
    )
    theirs = select(col(WebhookEndpoint.workspace_id)).where(*listening, col(WebhookEndpoint.workspace_id) > after)
    heads = _heads(col(Outbox.workspace_id).in_(theirs))
    asked = (
        select(col(Outbox.workspace_id))
        .select_from(heads)
        .join(Event, col(Event.sequence) == heads.c.sequence)
        .join(Outbox, col(Outbox.event_id) == col(Event.id))
        .where(_is_due(before))
        .distinct()
        .order_by(col(Outbox.workspace_id))
        .limit(limit)
    )
    return [row[0] for row in await _all(tx, asked)]


# These two conditions, spelt as in the partial index that holds the waiting rows alone.
WAITING: tuple[ColumnElement[bool], ...] = (col(Outbox.delivered_at).is_(None), col(Outbox.dead_at).is_(None))
_due_at: ColumnElement[Any] = func.coalesce(col(Outbox.next_attempt_at), col(Outbox.created_at), type_=UtcDateTime())


def _heads(whose: ColumnElement[bool]) -> CTE:
    """The `sequence` of the oldest waiting event of each subject.

    Grouped once, however few rows the planner expects: asking of each row whether one is ahead of it grows with the
    square of a queue that has just filled.
    """
    oldest = (
        select(func.min(col(Event.sequence)).label("sequence"))
        .select_from(Outbox)
        .join(Event, col(Event.id) == col(Outbox.event_id))
        .where(whose, *WAITING)
        .group_by(col(Outbox.workspace_id), col(Outbox.life_id))
    )
    return oldest.cte("heads").prefix_with("MATERIALIZED", dialect="postgresql")


def _is_due(at: datetime) -> ColumnElement[bool]:
    return _due_at <= at


def _free(now: datetime, early: bool) -> ColumnElement[bool]:
    """Due, or early and surely not under way."""
    return _is_due(now) | (col(Outbox.next_attempt_at) > now + LEASE) if early else _is_due(now)


def _of(workspace_id: str) -> ColumnElement[bool]:
    return col(Outbox.workspace_id) == workspace_id


def _mine(claimed: Claimed) -> tuple[ColumnElement[bool], ...]:
    return (col(Outbox.event_id) == claimed.event.id, col(Outbox.attempts) == claimed.attempts, *WAITING)


async def _take(tx: AsyncSession, row: Outbox, now: datetime, early: bool) -> bool:
    """False if another worker was first; it waited for us, or we for it, at this very statement."""
    seen = (col(Outbox.event_id) == row.event_id, col(Outbox.attempts) == row.attempts, _free(now, early), *WAITING)
    values = {"attempts": row.attempts + 1, "next_attempt_at": now + LEASE}
    first = {} if row.first_attempt_at else {"first_attempt_at": now}
    return bool((await tx.exec(update(Outbox).where(*seen).values(**values, **first))).rowcount)


def _claimed(row: Outbox, event: Event, life: Life | None, provider_id: str | None, now: datetime) -> Claimed:
    whom = (life.provider_id, life.tenant_id, life.user_id) if life else (provider_id or "", "", "")
    return Claimed(event, row.attempts + 1, row.first_attempt_at or now, *whom)


async def _all(tx: AsyncSession, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    found: Any = await tx.exec(cast("Any", query))
    rows: Sequence[Any] = found.all()
    return rows
