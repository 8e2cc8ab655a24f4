"""Single selects, asked of the driver itself: on the way of a read, a session around them costs several times as much.

SQLAlchemy writes the statement and knows how values are stored; it compiles each statement once, so pass the same
object again and again, its values left open.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Dialect, Select
from sqlalchemy.types import TypeEngine

from vault.engines import RESTED_SECONDS

Row = tuple[Any, ...]
Convert = Callable[[Any], Any] | None
WAIT_SECONDS = 10.0
"""How long a select may take, its wait for a connection included."""
CACHE_KIB = 32 * 1024
"""What SQLite may keep of the file in memory; by itself it would be 2 MiB, some hundred connections."""

PRIMARY = 0xFF
"""The part of an SQLite error code that names the kind; the rest tells kinds of it apart."""


class SelectFailed(OSError):
    """The database did not answer a select; the driver's own error is its cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"the database did not answer ({type(error).__name__})")


@dataclass(frozen=True, slots=True)
class Asking:
    """A statement as the driver takes it, and how what goes in and comes out is converted."""

    text: str
    given: Sequence[tuple[str, Any, bool, Convert]]
    results: Sequence[tuple[int, Callable[[Any], Any]]]

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


class Driver(Protocol):
    """What a driver is asked by."""

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Raises `SelectFailed`, or another `OSError`."""
        ...

    async def close(self) -> None: ...


class Selects:
    """Compiles and asks."""

    def __init__(self, dialect: Dialect, driver: Driver) -> None:
        self._dialect = dialect
        self._driver = driver
        self._known: dict[int, tuple[Select[*tuple[Any, ...]], Asking]] = {}

    async def rows(self, statement: Select[*tuple[Any, ...]], values: Mapping[str, Any]) -> list[Row]:
        """All rows. Raises an `OSError` if the database does not answer."""
        # Kept beside what was made of it: the id of one that is gone may be another's.
        known = self._known.get(id(statement))
        if known is None:
            known = self._known[id(statement)] = (statement, _asking(statement, self._dialect))
        asking = known[1]
        return [asking.row(raw) for raw in await self._driver.fetch(asking.text, asking.arguments(values))]

    async def close(self) -> None:
        await self._driver.close()


def _asking(statement: Select[*tuple[Any, ...]], dialect: Dialect) -> Asking:
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
    processors = [_result(column.type, dialect) for column in statement.selected_columns]
    return Asking(str(compiled), given, [(place, p) for place, p in enumerate(processors) if p])


def _result(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    convert: Convert = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert


class Postgres:
    """Connections of asyncpg's own pool, which are kept between selects: to give one back costs as much as a select."""

    def __init__(self, size: int, **connect: Any) -> None:
        self._pool = asyncpg.create_pool(min_size=0, max_size=size, init=_reads_json, reset=_as_it_is, **connect)
        self._turns = asyncio.Semaphore(size)
        self._kept: list[tuple[float, Any]] = []

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        try:
            # The pool's own timeouts would make a task for each select.
            async with asyncio.timeout(WAIT_SECONDS), self._turns:
                return await self._asked(await self._connection(), text, arguments)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise SelectFailed(error) from error

    async def _asked(self, connection: Any, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """One whose select failed, or was given up, is not kept: behind a dead host it would fail the next one too."""
        try:
            found: Sequence[Sequence[Any]] = await connection.fetch(text, *arguments)
        except BaseException:
            _end(connection)
            raise
        self._kept.append((monotonic(), connection))
        return found

    async def _connection(self) -> Any:
        """The one that was used last, or another if it has ended or rested long."""
        while self._kept:
            used, connection = self._kept.pop()
            if monotonic() - used < RESTED_SECONDS and _lives(connection):
                return connection
            _end(connection)
        return await (await self._pool).acquire()

    async def close(self) -> None:
        with suppress(asyncpg.InterfaceError):  # it was never asked
            self._pool.terminate()


def _lives(connection: Any) -> bool:
    with suppress(asyncpg.InterfaceError):  # it has ended, and the pool has taken it back
        return not connection.is_closed()
    return False


def _end(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _reads_json(connection: Any) -> None:
    await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _as_it_is(_connection: Any) -> None:
    """A connection that only selects has nothing to be reset, which would be one more question each time."""


class Sqlite:
    """One connection, asked where the caller runs: a select by key takes less than the way to a thread and back.

    In WAL mode no writer keeps a reader waiting. Where one has to wait all the same, as for a log that is being
    recovered, it waits in a thread.
    """

    def __init__(self, file: str, wait: float) -> None:
        self._file = file
        self._wait = wait
        self._connection: sqlite3.Connection | None = None

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        try:
            try:
                return self._at_once(text, arguments)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & PRIMARY != sqlite3.SQLITE_BUSY:
                    raise
                return await asyncio.to_thread(self._patiently, text, arguments)
        except sqlite3.Error as error:
            raise SelectFailed(error) from error

    def _at_once(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        if self._connection is None:
            self._connection = self._connect(0)
        return self._connection.execute(text, arguments).fetchall()

    def _patiently(self, text: str, arguments: Sequence[Any]) -> list[Row]:
        with closing(self._connect(self._wait)) as connection:
            return connection.execute(text, arguments).fetchall()

    def _connect(self, wait: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, timeout=wait, isolation_level=None)
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        return connection

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
