import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.util import await_only
from sqlmodel import col, func, select, update

from vault import database, engines
from vault.database import Database, migrate
from vault.engines import DatabaseUnusable
from vault.revisions import alembic_config, head
from vault.tables import AccountGrant, ApiKey, Table, Workspace


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/folder/vault.db"
    url: str = request.getfixturevalue("new_postgres_url")
    return url


@pytest.fixture
async def another_process(opened, database_url: str) -> Database:
    return opened(database_url)


def workspace(now, name: str = "w") -> Workspace:
    return Workspace(id="ws", name=name, created_at=now)


async def name_of(db: Database) -> str | None:
    async with db.reading() as tx:
        row = await tx.get(Workspace, "ws")
    return row.name if row else None


# --- migrations ---


async def test_migrating_twice_at_once_makes_the_schema_once(opened, new_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(migrate, new_url) for _ in range(4)]:
            done.result()
    db = opened(new_url)
    assert await db.behind() is None


async def test_a_database_that_is_behind_says_which_revision_it_has_and_needs(opened, new_url: str) -> None:
    db = opened(new_url)
    assert await db.behind() == f"the database is at revision none, this version needs {head()}; run `authpipe migrate`"
    await asyncio.to_thread(migrate, new_url)
    assert await db.behind() is None
    async with db.transaction() as tx:
        await tx.exec(text("UPDATE alembic_version SET version_num = '0001'"))
    assert f"at revision 0001, this version needs {head()}" in str(await db.behind())


def difference(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), Table.metadata))


def indexes(connection: Connection) -> dict[str, str]:
    """What each index is, with its WHERE, which Alembic does not compare."""
    catalog = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    }
    return {
        name: sql for name, sql in connection.execute(text(catalog[connection.dialect.name])) if "alembic" not in name
    }


async def test_the_migrations_make_exactly_the_tables(db: Database) -> None:
    async with db._bare.connect() as connection:
        assert await connection.run_sync(difference) == []


async def test_the_migrations_make_exactly_the_indexes(opened, new_url: str) -> None:
    db = opened(new_url)
    async with db.transaction() as tx:
        connection = await tx.connection()
        await connection.run_sync(Table.metadata.create_all)
        wanted = await connection.run_sync(indexes)
        await connection.run_sync(Table.metadata.drop_all)
    await asyncio.to_thread(migrate, new_url)
    async with db._bare.connect() as connection:
        assert await connection.run_sync(indexes) == wanted


async def test_the_migrations_can_be_taken_back(opened, new_url: str) -> None:
    await asyncio.to_thread(migrate, new_url)
    db = opened(new_url)

    def down(connection: Connection) -> list[str]:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    async with db.transaction() as tx:
        assert await (await tx.connection()).run_sync(down) == ["alembic_version"]


async def test_a_table_that_stays_in_use_ends_migrating_plainly_and_the_next_try_does_it(
    opened, new_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants the table after it would wait as long as it does, so it lets go and tries again."""
    await asyncio.to_thread(migrate, new_postgres_url)
    db = opened(new_postgres_url)
    async with db.transaction() as tx:
        await tx.exec(text("UPDATE alembic_version SET version_num = '0004'"))
    tries: list[str] = []

    def upgrade(connection: Connection) -> None:
        tries.append("")
        connection.execute(text("ALTER TABLE workspace ADD COLUMN IF NOT EXISTS more text"))
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{head()}'"))
        connection.commit()

    monkeypatch.setattr(database, "upgrade", upgrade)
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(database, "LOCK_TRIES", 2)
    async with db.transaction() as tx:
        await tx.exec(text("SELECT count(*) FROM workspace"))
        with pytest.raises(
            DatabaseUnusable, match=r"^the database is not wholly migrated: a table stayed in use [^\n]+$"
        ):
            await asyncio.to_thread(migrate, new_postgres_url)
    assert len(tries) == 2
    assert (await asyncio.to_thread(migrate, new_postgres_url)).objection is None


# --- opening ---


async def test_an_sqlite_file_is_readable_by_its_owner_alone(opened, tmp_path: Path, now) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/folder/vault.db"
    await asyncio.to_thread(migrate, url)
    db = opened(url)
    async with db.transaction() as tx:
        tx.add(workspace(now))
    made = sorted((tmp_path / "folder").iterdir())
    assert [path.name for path in made] == ["vault.db", "vault.db-shm", "vault.db-wal"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


async def test_sqlite_never_loses_a_commit_when_power_fails(opened, sqlite_url: str) -> None:
    db = opened(sqlite_url)
    async with db._bare.connect() as connection:
        found = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.mark.parametrize("url", ["mysql://h/db", "postgresql://h/db", "sqlite:///x.db", "sqlite+aiosqlite://"])
def test_an_unusable_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match=r"^[^\n]+$"):
        Database.open(url)


def test_an_unwritable_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseUnusable, match=r"^the database file .* cannot be written: [^\n]+$"):
        Database.open(f"sqlite+aiosqlite:///{tmp_path}/file/vault.db")


async def test_a_database_that_does_not_answer_is_named_in_one_line(
    opened, tmp_path: Path, new_postgres_url: str
) -> None:
    away = f"postgresql+asyncpg://user:canary@/db?host={tmp_path}"
    unknown = make_url(new_postgres_url).set(database="nowhere").render_as_string()
    for url in (away, unknown):
        db = opened(url)
        with pytest.raises(DatabaseUnusable, match=r"^the database cannot be used: [^\n]+$") as pinged:
            await db.ping()
        with pytest.raises(DatabaseUnusable, match=r"^the database cannot be used: [^\n]+$"):
            await asyncio.to_thread(migrate, url)
        assert "canary" not in str(pinged.value)


async def test_a_living_database_answers(db: Database) -> None:
    await db.ping()


# --- transactions ---


async def write_and_fail(db: Database, now) -> None:
    async with db.transaction() as tx:
        tx.add(workspace(now))
        await tx.flush()
        raise ZeroDivisionError


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(db: Database, now) -> None:
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(db, now)
    assert await name_of(db) is None
    async with db.transaction() as tx:
        tx.add(workspace(now))
    assert await name_of(db) == "w"


async def test_two_writers_of_one_sqlite_file_wait_for_each_other(opened, sqlite_url: str, now) -> None:
    writers = [opened(sqlite_url), opened(sqlite_url)]
    async with writers[0].transaction() as tx:
        tx.add(workspace(now, "0"))

    async def count(db: Database) -> None:
        async with db.transaction() as tx:
            row = (await tx.exec(select(Workspace))).one()
            row.name = str(int(row.name) + 1)

    await asyncio.gather(*(count(db) for db in writers * 10))
    assert await name_of(writers[0]) == "20"


async def test_readers_neither_wait_for_a_writer_nor_see_its_half(db: Database, another_process: Database, now) -> None:
    async with db.transaction() as tx:
        tx.add(workspace(now))
        await tx.flush()
        assert await asyncio.wait_for(name_of(db), 10) is None
        assert await asyncio.wait_for(name_of(another_process), 10) is None
        async with another_process._bare.connect() as connection:
            assert (await connection.execute(select(func.count()).select_from(Workspace))).scalar() == 0


async def test_a_writer_does_not_wait_for_readers(db: Database, another_process: Database, now) -> None:
    async with another_process.reading() as tx:
        assert (await tx.exec(select(Workspace))).first() is None
        async with asyncio.timeout(10), db.transaction() as writing:
            writing.add(workspace(now))


async def test_a_reading_sees_one_moment(db: Database, another_process: Database, now) -> None:
    async with db.transaction() as tx:
        tx.add(workspace(now, "before"))
    async with db.reading() as tx:
        first = (await tx.exec(select(Workspace.name))).one()
        async with another_process.transaction() as other:
            await other.exec(update(Workspace).values(name="after"))
        second = (await tx.exec(select(Workspace.name))).one()
    assert (first, second) == ("before", "before")
    assert await name_of(db) == "after"


async def test_a_transaction_within_a_transaction_is_refused_rather_than_waited_for(db: Database) -> None:
    async with db.transaction():
        with pytest.raises(RuntimeError, match="inside another"):
            async with db.transaction():
                pass
    async with db.transaction():
        pass


async def test_more_writers_than_connections_all_get_their_turn(opened, database_url: str, now) -> None:
    db = opened(database_url, pool_size=2)

    async def add(number: int) -> None:
        async with db.transaction() as tx:
            tx.add(Workspace(id=str(number), name="w", created_at=now))

    await asyncio.gather(*(add(number) for number in range(30)))
    async with db.reading() as tx:
        assert (await tx.exec(select(func.count()).select_from(Workspace))).one() == 30


async def test_a_failing_statement_does_not_show_its_values(db: Database, now) -> None:
    async def add() -> None:
        async with db.transaction() as tx:
            tx.add(ApiKey(id="key_1", workspace_id="w", name="canary", role="r", key_hash="h", created_at=now))

    await add()
    with pytest.raises(IntegrityError) as caught:
        await add()
    assert "canary" not in f"{caught.value!r} {caught.value}"


async def test_times_come_back_in_utc_and_lists_as_lists(db: Database, now) -> None:
    grant = AccountGrant(
        id="g", workspace_id="w", provider_config_id="c", account_id="a", scopes=["read", "write"], granted_at=now
    )
    async with db.transaction() as tx:
        tx.add(grant)
    async with db.reading() as tx:
        row = (await tx.exec(select(AccountGrant).where(col(AccountGrant.granted_at) == now))).one()
    assert (row.granted_at, row.granted_at.tzinfo, row.scopes) == (now, now.tzinfo, ["read", "write"])


async def test_an_end_that_the_driver_swallowed_ends_a_migration_all_the_same(
    new_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Locked(Exception):
        sqlstate = database.LOCK_NOT_AVAILABLE

    def swallowed(_connection: Connection) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await_only(asyncio.sleep(0))
        raise DBAPIError("", None, Locked())

    monkeypatch.setattr(database, "upgrade", swallowed)
    monkeypatch.setattr(database, "LOCK_SECONDS", 0)
    task = asyncio.create_task(database._migrate(database._checked(new_postgres_url)))
    with pytest.raises(asyncio.CancelledError):
        await task


# --- lost connections ---


@pytest.fixture
async def cut_off(opened, postgres, postgres_vault: str, postgres_url: str):
    """A database whose pooled connection the server has ended."""
    db = opened(postgres_url)
    async with db._bare.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{postgres_vault}'")
    async with asyncio.timeout(5):
        while not driver.is_closed():  # noqa: ASYNC110 - the driver has no event for it
            await asyncio.sleep(0.01)
    return db


async def test_a_connection_the_server_ended_is_replaced_before_it_is_used(cut_off: Database) -> None:
    await cut_off.ping()


async def test_a_connection_that_rested_long_is_tried_before_it_is_used(
    opened, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = opened(postgres_url)
    dialect = db._engine.dialect

    def lost(_connection: object) -> None:
        raise dialect.loaded_dbapi.InterfaceError("lost")

    async def server_process() -> int:
        async with db._bare.connect() as connection:
            return (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()

    first = await server_process()
    monkeypatch.setattr(dialect, "do_ping", lost)
    assert await server_process() == first
    monkeypatch.setattr(engines, "RESTED_SECONDS", 0.0)
    assert await server_process() != first
