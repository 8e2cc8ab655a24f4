"""SQLAlchemy's engines over the two databases, set up so that both keep the vault's promises."""

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

MIGRATION_WAIT_SECONDS = 60
LOCK_SECONDS = 2
"""How long a migration waits for a table that is in use: all who want the table after it wait as long."""
BUSY_SECONDS = 5
"""How long SQLite waits where another process writes or migrates."""
# NORMAL may lose a committed, rotated token when power fails.
SQLITE_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")
"""What every connection that writes is told first."""
RESTED_SECONDS = 30.0
"""A PostgreSQL connection that rested longer is not trusted: a firewall may have dropped it."""


class DatabaseUnusable(Exception):
    """The database named by the settings cannot be used; the message is one line for the operator."""

    code = "database_unusable"


def _create_file(path: Path) -> None:
    # SQLite gives its -wal and -shm files the mode of the main file, so this covers all three.
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise DatabaseUnusable(f"the database file {path} cannot be written: {error.strerror}") from error


def engine_of(url: URL, pool: dict[str, Any], *, migrating: bool = False) -> AsyncEngine:
    """The engine over the database that `url` names, with SQLAlchemy's options of a pool; an SQLite file is made."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, pool, migrating)
    args = postgres_args(migrating=migrating)
    engine = create_async_engine(url, hide_parameters=True, connect_args=args, **pool)

    @event.listens_for(engine.sync_engine, "checkin")
    def _rest(_connection: Any, record: Any) -> None:
        record.info["rested_at"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _wake(connection: Any, record: Any, _proxy: Any) -> None:
        # A ping on every checkout (pool_pre_ping) would halve the speed of reading; the driver notices most losses.
        rested = time.monotonic() - record.info.pop("rested_at", time.monotonic())
        if rested > RESTED_SECONDS or connection.driver_connection.is_closed():
            try:
                engine.dialect.do_ping(connection)
            except connection.dbapi.Error as error:
                raise InvalidatePoolError from error

    return engine


def postgres_args(*, migrating: bool = False) -> dict[str, Any]:
    """What asyncpg is told for each connection: its name, and how long anything may take."""
    limits = {"statement_timeout": "10s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "10s"}
    patient = {"lock_timeout": f"{LOCK_SECONDS}s"}
    settings = {"application_name": "authpipe", "jit": "off", **(patient if migrating else limits)}
    return {"timeout": 5, "command_timeout": None if migrating else 15, "server_settings": settings}


def _sqlite_engine(url: URL, pool: dict[str, Any], migrating: bool) -> AsyncEngine:
    _create_file(Path(url.database or ""))
    # isolation_level None: the driver opens no transactions of its own, the listener below does.
    args = {"isolation_level": None, "timeout": MIGRATION_WAIT_SECONDS if migrating else BUSY_SECONDS}
    engine = create_async_engine(url, hide_parameters=True, connect_args=args, **pool)

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in SQLITE_PRAGMAS:
            cursor.execute(pragma)
        if migrating:
            # Batch migrations drop and rebuild tables, which enforced keys would turn into deletions.
            cursor.execute("PRAGMA foreign_keys=OFF")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("sqlite_begin")
        if mode is not None:
            connection.exec_driver_sql(f"BEGIN {mode}")

    return engine
