"""Searching rows: conditions, order and keyset pages, over the columns that a resource lets be asked for."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar, cast

from sqlalchemy import Boolean, ColumnElement, Select, and_, func, literal, not_, or_, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import Kind
from vault.columns import UtcDateTime
from vault.tables import Event, Life, Outbox, ProviderConfig, Tombstone

T = TypeVar("T")
Value = str | bool | datetime
Query: TypeAlias = Select[*tuple[Any, ...]]
Columns: TypeAlias = Mapping[str, ColumnElement[Any]]

FAR = datetime(9999, 12, 31, tzinfo=UTC)
"""Where an absent time is sorted: the databases disagree about NULL, and a page could not begin behind one."""


class FieldType(StrEnum):
    """What the values of a field are."""

    TEXT = "text"
    TIME = "time"
    FLAG = "true or false"


class Op(StrEnum):
    """How a field is compared. `contains` is a substring, whatever its case (of ASCII letters on SQLite)."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    CONTAINS = "contains"
    EXISTS = "exists"


COMPARISONS: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.EQ: operator.eq,
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `value` has the field's type; a list for IN, a bool for EXISTS."""

    field: str
    op: Op
    value: Any


@dataclass(frozen=True, slots=True)
class Order:
    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. `order` is total: its last field is unique. `after` holds the order's values of a row."""

    order: tuple[Order, ...]
    conditions: tuple[Condition, ...] = ()
    words: str = ""
    after: tuple[Value, ...] | None = None
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of what was found; `after` is where the next page begins, None if there is none."""

    items: Sequence[T]
    after: tuple[Value, ...] | None = None


def shown_lives(workspace_id: str, kind: Kind) -> Query:
    """Rows of (life, outcome of its deletion): what get and search may show, which is what was active once."""
    return (
        select(Life, col(Tombstone.upstream))
        .outerjoin(Tombstone, col(Tombstone.life_id) == col(Life.id))
        .where(col(Life.workspace_id) == workspace_id, col(Life.kind) == kind, col(Life.connected_at).is_not(None))
    )


async def find_shown(tx: AsyncSession, workspace_id: str, kind: Kind, life_id: str) -> tuple[Life, str | None] | None:
    """One of them by id."""
    rows = await _rows(tx, shown_lives(workspace_id, kind).where(col(Life.id) == life_id))
    return tuple(rows[0]) if rows else None


def present_configs(workspace_id: str) -> Query:
    """Rows of (provider config), without the deleted ones."""
    return select(ProviderConfig).where(
        col(ProviderConfig.workspace_id) == workspace_id, col(ProviderConfig.deleted_at).is_(None)
    )


def shown_events(workspace_id: str) -> Query:
    """Rows of (event, its place in the outbox if it has one)."""
    return (
        select(Event, Outbox)
        .outerjoin(Outbox, col(Outbox.event_id) == col(Event.id))
        .where(col(Event.workspace_id) == workspace_id)
    )


async def find_event(tx: AsyncSession, workspace_id: str, event_id: str) -> tuple[Event, Outbox | None] | None:
    """One of them by id."""
    rows = await _rows(tx, shown_events(workspace_id).where(col(Event.id) == event_id))
    return tuple(rows[0]) if rows else None


def columns(**named: Any) -> Columns:
    """Columns by the names that a search gives them."""
    return named


def type_of(column: ColumnElement[Any]) -> FieldType:
    """The type of the values that a column is compared with."""
    if isinstance(column.type, UtcDateTime):
        return FieldType.TIME
    return FieldType.FLAG if isinstance(column.type, Boolean) else FieldType.TEXT


async def find_page(
    tx: AsyncSession, query: Query, fields: Columns, search: Search, words_in: Iterable[ColumnElement[Any]]
) -> Page[Any]:
    """The rows of `query` that match. Each row ends with the values it was ordered by."""
    keys = [_sort_key(fields[order.field]) for order in search.order]
    wanted = [_condition(fields[c.field], c) for c in search.conditions]
    if search.words:
        wanted.append(or_(*(column.icontains(search.words, autoescape=True) for column in words_in)))
    if search.after is not None:
        wanted.append(_after(keys, search.order, search.after))
    ordered = [key.desc() if order.descending else key.asc() for key, order in zip(keys, search.order, strict=True)]
    paged = query.where(*wanted).add_columns(*keys).order_by(*ordered).limit(search.limit + 1).offset(search.offset)
    rows = await _rows(tx, paged)
    more = len(rows) > search.limit
    return Page(rows[: search.limit], tuple(rows[search.limit - 1][-len(keys) :]) if more else None)


async def _rows(tx: AsyncSession, query: Query) -> Sequence[Any]:
    # SQLModel knows types for four columns at most, and none for a query that is put together.
    found: Any = await tx.exec(cast("Any", query))
    rows: Sequence[Any] = found.all()
    return rows


def _sort_key(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if type_of(column) is not FieldType.TIME:
        return column
    return func.coalesce(column, literal(FAR, UtcDateTime()), type_=UtcDateTime())


def _after(keys: Sequence[ColumnElement[Any]], order: Sequence[Order], values: Sequence[Value]) -> ColumnElement[bool]:
    """Rows behind `values`: greater (or less) in the first key that differs."""
    bound = [literal(value, key.type) for key, value in zip(keys, values, strict=True)]
    ways = []
    for i, by in enumerate(order):
        beyond = keys[i] < bound[i] if by.descending else keys[i] > bound[i]
        ways.append(and_(*(keys[j] == bound[j] for j in range(i)), beyond))
    return or_(*ways)


def _condition(column: ColumnElement[Any], condition: Condition) -> ColumnElement[bool]:
    value = condition.value
    match condition.op:
        case Op.NE:
            return column.is_distinct_from(value)
        case Op.IN:
            return column.in_(value)
        case Op.CONTAINS:
            return column.icontains(value, autoescape=True)
        case Op.EXISTS:
            there = column != "" if type_of(column) is FieldType.TEXT else column.is_not(None)
            return there if value else not_(there)
        case compared:
            comparison: ColumnElement[bool] = COMPARISONS[compared](column, value)
            return comparison
