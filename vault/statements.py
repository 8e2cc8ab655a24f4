"""Statements for the driver itself: SQLAlchemy writes each of them once, and knows how its values are stored.

So pass the same object again and again, its values left open.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Delete, Dialect, Insert, Select, Update
from sqlalchemy.types import TypeEngine

Row = tuple[Any, ...]
Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete
Convert = Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class Asking:
    """A statement as the driver takes it, and how what goes in and comes out is converted."""

    text: str
    given: Sequence[tuple[str, Any, bool, Convert]]
    results: Sequence[tuple[int, Callable[[Any], Any]]]
    answers: bool
    """Whether rows come back, as of a select."""

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """In the statement's order. Raises KeyError for one that is not given and that the statement leaves open."""
        held = ((values[name] if left_open else values.get(name, own), c) for name, own, left_open, c in self.given)
        return [value if convert is None else convert(value) for value, convert in held]

    def row(self, raw: Sequence[Any]) -> Row:
        """The row as the columns' types have it."""
        row = list(raw)
        for place, convert in self.results:
            row[place] = convert(row[place])
        return tuple(row)


class Statements:
    """What was made of each, for one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: dict[int, tuple[Statement, Asking]] = {}

    def asking(self, statement: Statement) -> Asking:
        # Kept beside what was made of it: the id of one that is gone may be another's.
        known = self._known.get(id(statement))
        if known is None:
            known = self._known[id(statement)] = (statement, _asking(statement, self._dialect))
        return known[1]


def _asking(statement: Statement, dialect: Dialect) -> Asking:
    compiled = statement.compile(dialect=dialect)
    own = compiled.params
    given = [
        (
            name,
            own[name],
            compiled.binds[name].required,
            compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect),
        )
        for name in compiled.positiontup or ()
    ]
    columns = list(statement.exported_columns)
    processors = [_result(column.type, dialect) for column in columns]
    converts = [(place, p) for place, p in enumerate(processors) if p]
    return Asking(str(compiled), given, converts, answers=bool(columns))


def _result(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    convert: Convert = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert
