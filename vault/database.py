"""One database behind the vault: SQLite or PostgreSQL, the same promises on both.

Five ways in, by what the caller needs: `transaction` (writes), `reading` (several selects of one moment), `looking`
(one select); and on the hot paths, past the session, `directly` (writes) and `rows` (one select of columns). None of
them may be held open while a provider is being called.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from asyncpg import InterfaceError, PostgresError  # type: ignore[import-untyped]
from sqlalchemy import Dialect, Select, literal_column, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.direct import Direct, DirectTransaction, Tx
from vault.drivers import Postgres, Sqlite
from vault.engines import BUSY_SECONDS, LOCK_SECONDS, DatabaseUnusable, engine_of, postgres_args
from vault.revisions import Standing, standing, upgrade
from vault.statements import Row

MIGRATION_LOCK = 0x61757468706970
"""The PostgreSQL advisory lock under which migrations run; any fixed number, kept for ever."""
LOCK_TRIES = 20
TURN_SECONDS = 0.2
LOCK_NOT_AVAILABLE = "55P03"
ANNOUNCED = "announced"
DISK_FULL = "53100"
"""PostgreSQL's code for it (appendix A of its manual)."""


def _nobody_listens(_workspace_id: str) -> None:
    pass


def announce(tx: Tx, workspace_id: str) -> None:
    """Have `Database.on_events` called once this transaction is committed."""
    tx.info.setdefault(ANNOUNCED, set()).add(workspace_id)


class Database:
    """A pool of connections. Open one per process, close it at the end."""

    def __init__(self, engine: AsyncEngine, direct: Direct) -> None:
        self._engine = engine
        self._direct = direct
        sqlite = engine.dialect.name == "sqlite"
        # BEGIN IMMEDIATE takes SQLite's one write lock at once: taking it later, after a read, can fail for good.
        self._writing = engine.execution_options(sqlite_begin="IMMEDIATE") if sqlite else engine
        self._reading = engine.execution_options(**(_SQLITE_SNAPSHOT if sqlite else _POSTGRES_SNAPSHOT))
        self._bare = engine if sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")
        # Writers of one process queue here in order; SQLite's own waiting is polling, and starves.
        self._turn: AbstractAsyncContextManager[Any] = asyncio.Lock() if sqlite else nullcontext()
        self._inside: set[asyncio.Task[Any] | None] = set()
        self.on_events: Callable[[str], None] = _nobody_listens
        """Called with the workspace after a commit that queued events for delivery. A hint: it may be lost."""

    @classmethod
    def open(cls, url: str, *, pool_size: int = 10) -> Self:
        """Open `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`.

        At most `pool_size` connections, and half as many again for `directly` and `rows`; no overflow.
        """
        parsed = _checked(url)
        engine = engine_of(parsed, {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": 10})
        return cls(engine, _direct(parsed, engine.dialect, max(1, pool_size // 2)))

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def close(self) -> None:
        await self._direct.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits at the end and rolls back on an error. Never nested: seal and read before."""
        session = AsyncSession(self._writing, expire_on_commit=False)
        async with self._never_nested(), session, session.begin():
            yield session
        self._tell(session)

    @asynccontextmanager
    async def directly(self) -> AsyncIterator[DirectTransaction]:
        """A transaction for statements that are made once and run often, their values left open (`vault.statements`).

        At a fraction of the cost, with the same errors. Never nested.
        """
        async with self._never_nested(), self._direct.transaction() as tx:
            yield tx
        self._tell(tx)

    @asynccontextmanager
    async def _never_nested(self) -> AsyncIterator[None]:
        """The turn to write, where writers take turns."""
        task = asyncio.current_task()
        if task in self._inside:
            raise RuntimeError("a transaction was opened inside another of the same task; do its work before it")
        async with self._turn:
            self._inside.add(task)
            try:
                yield
            finally:
                self._inside.discard(task)

    def _tell(self, tx: Tx) -> None:
        announced: set[str] = tx.info.get(ANNOUNCED, set())
        for workspace_id in announced:
            self.on_events(workspace_id)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session whose selects all see one moment. It takes no write lock, and what it writes is lost."""
        async with AsyncSession(self._reading, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[AsyncSession]:
        """A session for a single select: that sees one moment anyway, and saves beginning and ending a transaction."""
        async with AsyncSession(self._bare, expire_on_commit=False) as session:
            yield session

    async def rows(self, statement: Select[*tuple[Any, ...]], values: Mapping[str, Any]) -> list[Row]:
        """All rows of a statement that is made once and asked often, its values left open (`vault.statements`)."""
        return await self._direct.rows(statement, values)

    async def ping(self) -> None:
        """Raises `DatabaseUnusable` if the database does not answer."""
        with _said_plainly():
            async with self._bare.connect() as connection:
                await connection.execute(_ANYTHING)
            await self.rows(_ANYTHING, {})

    async def behind(self) -> str | None:
        """None if this version may serve on the schema, else a sentence naming both revisions."""
        return (await self.standing()).objection

    async def standing(self) -> Standing:
        """Which migration the schema is at."""
        async with self._bare.connect() as connection:
            return await connection.run_sync(standing)


_ANYTHING: Select[*tuple[Any, ...]] = select(literal_column("1"))


def migrate(url: str) -> Standing:
    """Bring the schema to this version's, creating it if need be. Of two processes at once, one waits for the other.

    One that a newer version made is left as it is; `DatabaseUnusable` if this version may not serve on it.
    """
    return asyncio.run(_migrate(_checked(url)))


async def _migrate(url: URL) -> Standing:
    engine = engine_of(url, {"poolclass": NullPool}, migrating=True).execution_options(sqlite_begin="EXCLUSIVE")
    try:
        with _said_plainly():
            async with engine.connect() as connection:
                return await (_alone if engine.dialect.name == "sqlite" else _among_others)(connection)
    finally:
        await engine.dispose()


async def _alone(connection: AsyncConnection) -> Standing:
    """All in one transaction, which keeps every writer out."""
    async with connection.begin():
        if not _left_as_it_is(await connection.run_sync(standing)):
            await connection.run_sync(upgrade)
        return await connection.run_sync(standing)


async def _among_others(connection: AsyncConnection) -> Standing:
    """Each migration in a transaction of its own, while other processes serve."""
    await _take_turn(connection)
    for _ in range(LOCK_TRIES):
        stands = await connection.run_sync(standing)
        await connection.rollback()
        if stands.objection is None:
            return stands
        _left_as_it_is(stands)
        try:
            await connection.run_sync(upgrade)
            return await connection.run_sync(standing)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            await connection.rollback()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # Who ends us came together with the lock's own end, and the driver told of that one alone.
                raise asyncio.CancelledError from None
            await asyncio.sleep(LOCK_SECONDS / 2)
    raise DatabaseUnusable(
        "the database is not wholly migrated: a table stayed in use all the time, perhaps by a backup under way; "
        "no migration is left half done: run `authpipe migrate` again when that is over"
    )


def _left_as_it_is(stands: Standing) -> bool:
    if stands.ahead and stands.objection:
        raise DatabaseUnusable(stands.objection)
    return stands.ahead


async def _take_turn(connection: AsyncConnection) -> None:
    # Asked for again and again, since one that waits holds a snapshot, which an index built concurrently waits for.
    # Of the session, not of a transaction: a migration may end its own.
    query = text("SELECT pg_try_advisory_lock(:lock)")
    while not (await connection.execute(query, {"lock": MIGRATION_LOCK})).scalar():
        await connection.rollback()
        await asyncio.sleep(TURN_SECONDS)
    await connection.rollback()


def _checked(url: str) -> URL:
    parsed = make_url(url)
    if parsed.drivername not in ("sqlite+aiosqlite", "postgresql+asyncpg"):
        raise DatabaseUnusable(
            f"a database URL must begin with sqlite+aiosqlite:// or postgresql+asyncpg://, not {parsed.drivername}://"
        )
    if parsed.drivername.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise DatabaseUnusable("an SQLite database needs a file; name one, as in sqlite+aiosqlite:///authpipe.db")
    return parsed


def is_full(error: DBAPIError) -> bool:
    """Whether a write failed because there is no room left. Reading goes on then."""
    cause = error.orig
    full = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return full or getattr(cause, "sqlstate", None) == DISK_FULL


def absent_file(url: str) -> Path | None:
    """The file that an SQLite URL names, if it is not there: opening the database would make it."""
    parsed = _checked(url)
    file = Path(parsed.database or "")
    return file if parsed.get_backend_name() == "sqlite" and not file.exists() else None


@contextmanager
def _said_plainly() -> Iterator[None]:
    # Drivers name hosts, users and files in the first line of what they say, never passwords or values.
    try:
        yield
    except (OSError, SQLAlchemyError, PostgresError, InterfaceError) as error:
        said = str(getattr(error, "orig", None) or error).partition("\n")[0] or type(error).__name__
        raise DatabaseUnusable(f"the database cannot be used: {said}") from error


_SQLITE_SNAPSHOT: dict[str, Any] = {"sqlite_begin": "DEFERRED"}
_POSTGRES_SNAPSHOT: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _direct(url: URL, dialect: Dialect, size: int) -> Direct:
    if dialect.name == "sqlite":
        return Direct(dialect, Sqlite(url.database or "", BUSY_SECONDS))
    _, connect = dialect.create_connect_args(url)
    return Direct(dialect, Postgres(size, **connect, **postgres_args()))
