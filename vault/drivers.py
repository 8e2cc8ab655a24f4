"""The two drivers themselves, for what is asked all the time: a session around it costs several times as much."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from time import monotonic
from typing import Any, Protocol, TypeVar

import asyncpg  # type: ignore[import-untyped]

from vault.engines import RESTED_SECONDS, SQLITE_PRAGMAS
from vault.statements import Row

T = TypeVar("T")
WAIT_SECONDS = 10.0
"""How long a select may take, its wait for a connection included; and how long a change waits for one."""
CACHE_KIB = 32 * 1024
"""What SQLite may keep of the file in memory; by itself it would be 2 MiB, some hundred connections."""

ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error)
"""What the drivers themselves raise."""
VIOLATIONS = (asyncpg.IntegrityConstraintViolationError, sqlite3.IntegrityError)

PRIMARY = 0xFF
"""The part of an SQLite error code that names the kind; the rest tells kinds of it apart."""


class SelectFailed(OSError):
    """The database did not answer a select; the driver's own error is its cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"the database did not answer ({type(error).__name__})")


class Change(Protocol):
    """A transaction that is under way. Its errors are the driver's own (`ERRORS`)."""

    stands: bool = True

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """The rows of a statement that answers some."""

    async def execute(self, text: str, arguments: Sequence[Any]) -> int:
        """How many rows a statement changed."""

    def undo(self) -> None:
        """Have it rolled back at its end."""
        self.stands = False


class Driver(Protocol):
    """What a driver is asked by."""

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Raises `SelectFailed`, or another `OSError`."""
        ...

    def change(self) -> AbstractAsyncContextManager[Change]:
        """A transaction: committed at the end unless it was undone, rolled back on an error. SQLite: one at a time."""

    async def close(self) -> None: ...


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
        except ERRORS as error:
            raise SelectFailed(error) from error
        except TimeoutError:
            self._end_kept()
            raise

    async def _asked(self, connection: Any, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """One whose select failed, or was given up, is not kept: behind a dead host it would fail the next one too."""
        try:
            found: Sequence[Sequence[Any]] = await connection.fetch(text, *arguments)
        except BaseException:
            _end(connection)
            raise
        self._kept.append((monotonic(), connection))
        return found

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        async with asyncio.timeout(WAIT_SECONDS):
            await self._turns.acquire()
        try:
            connection = await self._connection()
            try:
                await connection.execute("BEGIN")
                change = _PostgresChange(connection)
                yield change
                await change.end()
            except BaseException as error:
                # Ending it undoes all but a commit under way, of which nobody knows.
                _end(connection)
                if isinstance(error, TimeoutError):
                    self._end_kept()
                raise
            self._kept.append((monotonic(), connection))
        finally:
            self._turns.release()

    async def _connection(self) -> Any:
        """The one that was used last, or another if it has ended or rested long."""
        while self._kept:
            used, connection = self._kept.pop()
            if monotonic() - used < RESTED_SECONDS and _lives(connection):
                return connection
            _end(connection)
        return await (await self._pool).acquire()

    def _end_kept(self) -> None:
        """Where one got no answer, its host may be dead: the others would each be waited for as long."""
        while self._kept:
            _end(self._kept.pop()[1])

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
    await connection.set_type_codec("json", encoder=str, decoder=json.loads, schema="pg_catalog")


async def _as_it_is(_connection: Any) -> None:
    """Nothing is left on a connection that would have to be reset, which would be one more question each time."""


class _PostgresChange(Change):
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = await self._connection.fetch(text, *arguments)
        return found

    async def execute(self, text: str, arguments: Sequence[Any]) -> int:
        status = await self._connection.execute(text, *arguments)
        return int(status.rpartition(" ")[2])  # "UPDATE 1", "INSERT 0 1"

    async def end(self) -> None:
        end = "COMMIT" if self.stands else "ROLLBACK"
        # PostgreSQL answers COMMIT by ROLLBACK, and no error, where a statement before it had failed.
        if await self._connection.execute(end) != end:
            raise asyncpg.InterfaceError("a statement had failed, so nothing was committed")


class Sqlite:
    """One connection, asked where the caller runs: a select by key takes less than the way to a thread and back.

    In WAL mode no writer keeps a reader waiting. Where one has to wait all the same, as for a log that is being
    recovered, it waits in a thread.
    """

    def __init__(self, file: str, wait: float) -> None:
        self._file = file
        self._wait = wait
        self._connection: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        try:
            try:
                return self._at_once(text, arguments)
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
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

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Change]:
        if self._writer is None:
            self._writer = await _to_its_end(self._opened_writer)
        writer = self._writer
        change = _SqliteChange(writer)
        try:
            await _begin(writer, self._wait)
            yield change
            if change.stands:
                # It waits for the disk.
                await _to_its_end(lambda: writer.execute("COMMIT"))
        finally:
            if writer.in_transaction:
                writer.execute("ROLLBACK")

    def _opened_writer(self) -> sqlite3.Connection:
        # Where it waits, it does so in a thread, and is used by nobody else meanwhile.
        connection = sqlite3.connect(self._file, timeout=self._wait, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (*SQLITE_PRAGMAS, "PRAGMA busy_timeout=0"):
                connection.execute(pragma)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        for connection in (self._connection, self._writer):
            if connection is not None:
                connection.close()


class _SqliteChange(Change):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        return self._connection.execute(text, arguments).fetchall()

    async def execute(self, text: str, arguments: Sequence[Any]) -> int:
        return self._connection.execute(text, arguments).rowcount


async def _begin(writer: sqlite3.Connection, wait: float) -> None:
    """Take the one write lock at once: taking it later, after a read, can fail for good."""
    try:
        writer.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        await _to_its_end(lambda: _begin_patiently(writer, wait))


def _begin_patiently(writer: sqlite3.Connection, wait: float) -> None:
    writer.execute(f"PRAGMA busy_timeout={round(wait * 1000)}")
    try:
        writer.execute("BEGIN IMMEDIATE")
    finally:
        writer.execute("PRAGMA busy_timeout=0")


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY == sqlite3.SQLITE_BUSY


async def _to_its_end(work: Callable[[], T]) -> T:
    """In a thread; whoever is cancelled meanwhile waits for its end, since the connection is not free before."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    cancelled = False
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        working.exception()  # has been seen
        raise asyncio.CancelledError
    return working.result()
