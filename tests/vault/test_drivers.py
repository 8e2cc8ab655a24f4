"""What `Database.rows` answers, beside what a session answers; and what becomes of a select that cannot be made."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import bindparam, func, select, text
from sqlmodel import col

from domain.life import Kind
from vault import drivers
from vault.database import Database
from vault.drivers import SelectFailed
from vault.tables import Credential, Life, Workspace

Open = Callable[..., Database]

EVERYTHING = (
    select(*Life.__table__.columns, *Credential.__table__.columns)  # type: ignore[attr-defined]
    .join(Credential, col(Credential.life_id) == col(Life.id))
    .where(col(Life.id) == bindparam("id"))
)


async def test_rows_are_those_a_session_answers(db: Database, new_life: Any, new_current: Any, now: Any) -> None:
    life = await new_life(Kind.CONNECTION, user_id="ann")
    await new_current(life)
    (row,) = await db.rows(EVERYTHING, {"id": life.id})
    async with db.looking() as tx:
        theirs = (await tx.exec(EVERYTHING, params={"id": life.id})).one()  # type: ignore[call-overload]
    assert row == tuple(theirs)
    assert {type(value) for value in row} >= {type(now), bytes, list, type(None), int, str}


async def test_what_does_not_fit_has_no_rows(db: Database) -> None:
    assert await db.rows(EVERYTHING, {"id": "nobody"}) == []


async def test_a_value_that_was_forgotten_is_no_null(db: Database) -> None:
    with pytest.raises(KeyError, match="id"):
        await db.rows(EVERYTHING, {"life": "x"})


async def test_instants_are_asked_for_as_they_are_stored(db: Database, new_life: Any, now: Any) -> None:
    life = await new_life(Kind.CONNECTION, user_id="ann")
    due = select(col(Life.id)).where(col(Life.created_at) == bindparam("at"))
    assert await db.rows(due, {"at": now}) == [(life.id,)]


async def test_more_ask_at_once_than_there_are_connections(db: Database, new_life: Any) -> None:
    life = await new_life(Kind.CONNECTION, user_id="ann")
    named = select(col(Life.id)).where(col(Life.id) == bindparam("id"))
    assert await asyncio.gather(*(db.rows(named, {"id": life.id}) for _ in range(50))) == [[(life.id,)]] * 50


async def test_a_select_that_the_database_refuses_is_one_error_for_both(db: Database) -> None:
    with pytest.raises(SelectFailed, match="did not answer"):
        await db.rows(select(text("no_such_column")).select_from(Life), {})


async def test_a_postgresql_that_is_away_is_an_os_error(opened: Open) -> None:
    with pytest.raises(OSError, match="1"):
        await opened("postgresql+asyncpg://nobody@127.0.0.1:1/nothing").rows(EVERYTHING, {"id": "x"})


async def test_a_file_that_is_no_database_is_one_error(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "vault.db").write_bytes(b"something else altogether, and long enough to be looked at" * 20)
    with pytest.raises(SelectFailed, match="DatabaseError"):
        await opened(f"sqlite+aiosqlite:///{tmp_path}/vault.db").rows(EVERYTHING, {"id": "x"})


async def test_a_select_on_a_locked_file_waits_its_turn_and_holds_up_nobody(opened: Open, sqlite_url: str) -> None:
    db = opened(sqlite_url)
    with closing(sqlite3.connect(sqlite_url.partition("///")[2], isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        waiting = asyncio.create_task(db.rows(EVERYTHING, {"id": "x"}))
        await asyncio.sleep(0.05)  # the loop turns meanwhile
        assert not waiting.done()
        other.execute("COMMIT")
    assert await waiting == []


NUMBER = select(func.count()).select_from(Workspace)


async def test_no_single_select_fails_for_connections_that_ended_while_they_rested(
    opened: Open, postgres: Any, postgres_vault: str, postgres_url: str
) -> None:
    db = opened(postgres_url)
    await asyncio.gather(*(db.rows(NUMBER, {}) for _ in range(20)))
    kept = [connection._con for _, connection in db._direct._driver._kept]
    assert len(kept) > 1
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{postgres_vault}'")
    async with asyncio.timeout(5):
        while not all(connection.is_closed() for connection in kept):  # noqa: ASYNC110 - the driver has no event for it
            await asyncio.sleep(0.01)
    assert await db.rows(NUMBER, {}) == [(0,)]


async def test_a_select_that_was_given_up_leaves_its_connection_to_nobody(opened: Open, postgres_url: str) -> None:
    db = opened(postgres_url, pool_size=2)
    slow = select(func.pg_sleep(30))
    for _ in range(3):  # more often than there are connections
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(db.rows(slow, {}), 0.1)
        assert db._direct._driver._kept == []
    assert await db.rows(NUMBER, {}) == [(0,)]


async def test_where_one_gets_no_answer_the_others_are_not_waited_for_in_turn(
    opened: Open, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = opened(postgres_url)
    await asyncio.gather(*(db.rows(select(func.pg_sleep(0.05)), {}) for _ in range(3)))
    kept = db._direct._driver._kept
    assert len(kept) == 3
    monkeypatch.setattr(drivers, "WAIT_SECONDS", 0.1)
    with pytest.raises(TimeoutError):
        await db.rows(select(func.pg_sleep(30)), {})
    monkeypatch.undo()
    assert kept == []
    assert await db.rows(NUMBER, {}) == [(0,)]


async def test_a_commit_that_commits_nothing_is_an_error(opened: Open, postgres_url: str) -> None:
    """As where somebody let a statement's failure pass: PostgreSQL answers ROLLBACK, as if all were well."""
    driver = opened(postgres_url)._direct._driver

    async def careless() -> None:
        async with driver.change() as change:
            await change.execute("INSERT INTO workspace (id, name, created_at) VALUES ('w', 'w', now())", ())
            with suppress(asyncpg.PostgresError):
                await change.execute("SELECT no_such_column", ())

    with pytest.raises(asyncpg.InterfaceError, match="nothing was committed"):
        await careless()


async def test_closing_waits_for_no_select(opened: Open, postgres_url: str) -> None:
    db = opened(postgres_url)
    under_way = asyncio.create_task(db.rows(select(func.pg_sleep(30)), {}))
    await asyncio.sleep(0.2)  # until it is asked
    async with asyncio.timeout(5):
        await db.close()
        with pytest.raises(OSError, match="did not answer"):
            await under_way
