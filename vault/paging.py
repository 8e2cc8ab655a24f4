"""Reading many rows in short reads: each page is a snapshot of its own and begins behind the one before it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, or_

T = TypeVar("T")

PAGE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: rows are ordered by a time, those without one last, then by id."""

    at: datetime | None
    id: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the rows; `after` is where the next page begins, None behind the last one."""

    rows: Sequence[T]
    after: Place | None = None


async def pages(fetch: Callable[[Place | None], Awaitable[Page[T]]]) -> AsyncIterator[Sequence[T]]:
    """All pages that have rows, one read after the other."""
    after: Place | None = None
    while True:
        page = await fetch(after)
        if page.rows:
            yield page.rows
        if page.after is None:
            return
        after = page.after


def page_of(rows: Sequence[T], size: int, place: Callable[[T], Place]) -> Page[T]:
    """The first `size` of the rows that were found when one more was asked for."""
    more = len(rows) > size
    kept = rows[:size]
    return Page(kept, place(kept[-1]) if more else None)


def behind(after: Place | None, at: Any, id_: Any) -> list[ColumnElement[bool]]:
    """The condition of the next page, none for the first. A column that is never NULL fits as well."""
    if after is None:
        return []
    if after.at is None:
        return [and_(at.is_(None), id_ > after.id)]
    return [or_(at > after.at, and_(at == after.at, id_ > after.id), at.is_(None))]


def in_order(at: Any, id_: Any) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The order that `Place` speaks of."""
    return at.asc().nulls_last(), id_.asc()
