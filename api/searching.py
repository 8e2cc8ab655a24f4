"""`POST …/search`: one request for every resource, checked against the fields that a resource lets be asked for."""

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.fields import MAX_LIST, Body
from domain.errors import FieldError, Problem
from vault.searching import Condition, FieldType, Op, Order, Page, Search, Value

T = TypeVar("T")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_OFFSET = 100_000
MAX_CONDITIONS = 20
MAX_SORTS = 4
MAX_TEXT = 2048
ID = "id"

OPS: Mapping[FieldType, tuple[Op, ...]] = {
    FieldType.TEXT: (Op.EQ, Op.NE, Op.IN, Op.CONTAINS, Op.EXISTS),
    FieldType.TIME: (Op.EQ, Op.NE, Op.IN, Op.LT, Op.LTE, Op.GT, Op.GTE, Op.EXISTS),
    FieldType.FLAG: (Op.EQ, Op.NE, Op.EXISTS),
}


class SortDirectiveInput(Body):
    field: Annotated[str, Field(max_length=64)]
    direction: Literal["asc", "desc"] = "asc"


class SearchRequest(Body):
    """Everything is optional. `filter` is `{field: {op: value}}`; all conditions have to hold."""

    query: str = Field("", max_length=200, description="Text to look for, whatever its case.")
    filter: dict[str, dict[str, Any]] | None = Field(None, max_length=MAX_CONDITIONS)
    sort: list[SortDirectiveInput] | None = Field(None, max_length=MAX_SORTS)
    fields: list[str] | None = Field(None, max_length=MAX_LIST, description="Answer with these fields only, and `id`.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="Rows to pass over; a cursor is steadier.")
    cursor: str = Field("", max_length=8192, description="`next_cursor` of the page before, with the same `sort`.")


class Found(BaseModel, Generic[T]):
    """One page of a search."""

    data: list[T]
    has_more: bool
    limit: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Searchable:
    """What may be asked of a resource: `id` is among the fields, and unique; `shown` are the fields of an answer."""

    fields: Mapping[str, FieldType]
    shown: frozenset[str]
    order: Order


def parse(request: SearchRequest, resource: Searchable) -> Search:
    """The search that is meant. Raises `bad_request`, naming what is not known and what would be."""
    for name in request.fields or ():
        _known(name, resource.shown, "fields")
    if request.cursor and request.offset:
        raise _bad("cursor", "A cursor and an offset exclude each other: send one of them.")
    order = _order(request, resource)
    return Search(
        order=order,
        conditions=tuple(_conditions(request.filter or {}, resource)),
        words=_text("query", request.query.strip()),
        after=_after(request.cursor, order, resource) if request.cursor else None,
        limit=request.limit,
        offset=request.offset,
    )


def respond(model: type[Found[Any]], data: Sequence[Any], page: Page[Any], asked: SearchRequest) -> JSONResponse:
    """The page as the contract's answer, each row cut to the fields that were asked for."""
    cursor = _cursor(page.after) if page.after else None
    found = model(data=list(data), has_more=cursor is not None, limit=asked.limit, next_cursor=cursor)
    kept: Any = {"data": {"__all__": {ID, *asked.fields}}} if asked.fields else {"data": True}
    include = dict.fromkeys(type(found).model_fields, True) | kept
    return JSONResponse(found.model_dump(mode="json", include=include, exclude_none=True))


def _order(request: SearchRequest, resource: Searchable) -> tuple[Order, ...]:
    for directive in request.sort or ():
        _known(directive.field, resource.fields, "sort")
    order = [Order(d.field, d.direction == "desc") for d in request.sort or ()] or [resource.order]
    # Every page has to begin at one exact row; what follows a unique field orders nothing.
    fields = [by.field for by in order]
    return tuple(order[: fields.index(ID) + 1] if ID in fields else [*order, Order(ID)])


def _conditions(filters: Mapping[str, Mapping[str, Any]], resource: Searchable) -> list[Condition]:
    conditions = [
        _condition(name, op, value, resource)
        for name, comparisons in filters.items()
        for op, value in comparisons.items()
    ]
    if len(conditions) > MAX_CONDITIONS:
        raise _bad("filter", f"A search takes at most {MAX_CONDITIONS} conditions.")
    return conditions


def _condition(name: str, op: str, value: Any, resource: Searchable) -> Condition:
    _known(name, resource.fields, "filter")
    kind, where = resource.fields[name], f"filter.{name}"
    _known(op, OPS[kind], where)
    if op == Op.EXISTS:
        return Condition(name, Op.EXISTS, _value(where, FieldType.FLAG, value))
    if op != Op.IN:
        return Condition(name, Op(op), _value(where, kind, value))
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise _bad(where, f"`in` takes a list of at most {MAX_LIST} values.")
    return Condition(name, Op.IN, [_value(where, kind, each) for each in value])


def _value(where: str, kind: FieldType, value: Any) -> Value:
    match kind, value:
        case FieldType.FLAG, bool():
            return value
        case FieldType.TEXT, str():
            return _text(where, value)
        case FieldType.TIME, str():
            return _time(where, value)
    raise _bad(where, f"{where} is compared with {kind}.")


def _text(where: str, value: str) -> str:
    # JSON can spell what no text in a database can hold: NUL, and half of a surrogate pair.
    if "\0" in value or len(value) > MAX_TEXT or any("\ud800" <= c <= "\udfff" for c in value):
        raise _bad(where, f"{where} is over-long or holds characters that no text has.")
    return value


def _time(where: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _bad(where, f"{where} is compared with a time such as 2026-01-31T12:00:00Z, with its zone.")


def _cursor(values: tuple[Value, ...]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def _after(cursor: str, order: tuple[Order, ...], resource: Searchable) -> tuple[Value, ...]:
    """A cursor only says where to go on among the caller's own rows, so it is checked but not signed."""
    try:
        plain = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        plain = None
    if not isinstance(plain, list) or len(plain) != len(order):
        raise _bad("cursor", "The cursor is not one that a search with this sort answered.")
    return tuple(_value("cursor", resource.fields[by.field], value) for by, value in zip(order, plain, strict=True))


def _known(name: str, allowed: Collection[str], where: str) -> None:
    if name not in allowed:
        raise _bad(where, f"{where} does not take {name[:64]!r}; it takes {', '.join(sorted(allowed))}.")


def _bad(where: str, message: str) -> Problem:
    return Problem("bad_request", message, errors=(FieldError(f"body.{where}", message),))
