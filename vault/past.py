"""What a life has behind it: its events, those of its provider config, and its attempts at the token endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.story import Happened
from vault.ledger import SUCCEEDED
from vault.tables import Event, Life, TokenAttempt

MOST = 2000


@dataclass(frozen=True, slots=True)
class Past:
    """The last of what happened, oldest first; `left_out` is how much there is before it."""

    happened: Sequence[Happened]
    left_out: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one kind, newest first, as (time, order among equal times, what happened)."""

    found: list[tuple[datetime, int, Happened]]
    total: int

    @property
    def began(self) -> datetime | None:
        """Before this, there is more; None if there is not."""
        return self.found[-1][0] if len(self.found) < self.total else None


async def past_of(tx: AsyncSession, life: Life, most: int = MOST) -> Past:
    """At most twice `most` of what happened to the life, without gaps."""
    of_life, of_config = _events_of(life)
    kinds = [
        await _events(tx, of_life, most),
        await _events(tx, of_config, most),
        await _attempts(tx, life, most),
    ]
    since = max((rows.began for rows in kinds if rows.began), default=None)
    found = sorted((row for rows in kinds for row in rows.found), key=lambda row: row[:2])
    kept = [what for at, _, what in found if since is None or at >= since]
    return Past(kept, sum(rows.total for rows in kinds) - len(kept))


def _events_of(life: Life) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    own = col(Event.life_id) == life.id
    of_its_app = and_(col(Event.life_id) == "", col(Event.provider_config_id) == life.provider_config_id)
    return own, and_(of_its_app, col(Event.created_at) >= life.created_at)


async def _events(tx: AsyncSession, which: ColumnElement[bool], most: int) -> _Rows:
    newest = select(Event).where(which).order_by(col(Event.sequence).desc()).limit(most)
    rows = (await tx.exec(newest)).all()
    found = [(row.created_at, row.sequence or 0, _of_event(row)) for row in rows]
    return _Rows(found, await _total(tx, len(rows), most, Event, which))


async def _attempts(tx: AsyncSession, life: Life, most: int) -> _Rows:
    """Without those that an event tells of: a refresh, or an exchange, that went well at once."""
    told = (col(TokenAttempt.outcome) == SUCCEEDED) & (col(TokenAttempt.error_code) == "")
    which = and_(col(TokenAttempt.life_id) == life.id, or_(col(TokenAttempt.outcome).is_(None), ~told))
    newest = select(TokenAttempt).where(which).order_by(col(TokenAttempt.started_at).desc()).limit(most)
    rows = (await tx.exec(newest)).all()
    # Of one moment the attempt comes first, the event that it led to after it.
    found = [(row.answered_at or row.started_at, -1, _of_attempt(row)) for row in rows]
    return _Rows(found, await _total(tx, len(rows), most, TokenAttempt, which))


async def _total(tx: AsyncSession, found: int, most: int, table: Any, which: ColumnElement[bool]) -> int:
    if found < most:
        return found
    return int((await tx.exec(select(func.count()).select_from(table).where(which))).one())


def _of_event(row: Event) -> Happened:
    subject, _, name = row.type.partition(".")
    kind = row.type if subject == "provider_config" else name
    data = row.data or {}
    generation = data.get("generation")
    return Happened(row.created_at, kind, str(data.get("reason") or ""), generation, data)


def _of_attempt(row: TokenAttempt) -> Happened:
    kind = f"{row.kind}.{row.outcome}" if row.outcome else row.kind
    return Happened(row.answered_at or row.started_at, kind, row.error_code, row.generation)
