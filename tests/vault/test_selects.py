"""What `Database.rows` answers, beside what a session answers; and what becomes of a select that cannot be made."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, text
from sqlmodel import col

from domain.life import Kind
from vault.database import Database
from vault.selects import SelectFailed
from vault.tables import Credential, Life

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


async def test_a_postgresql_that_is_away_is_an_os_error() -> None:
    db = Database.open("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    try:
        with pytest.raises(OSError, match="1"):
            await db.rows(EVERYTHING, {"id": "x"})
    finally:
        await db.close()


async def test_a_file_that_is_no_database_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "vault.db").write_bytes(b"something else altogether, and long enough to be looked at" * 20)
    db = Database.open(f"sqlite+aiosqlite:///{tmp_path}/vault.db")
    try:
        with pytest.raises(SelectFailed, match="DatabaseError"):
            await db.rows(EVERYTHING, {"id": "x"})
    finally:
        await db.close()


async def test_a_select_on_a_locked_file_waits_its_turn_and_holds_up_nobody(sqlite_url: str) -> None:
    db, file = Database.open(sqlite_url), sqlite_url.partition("///")[2]
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        waiting = asyncio.create_task(db.rows(EVERYTHING, {"id": "x"}))
        await asyncio.sleep(0.05)  # the loop turns meanwhile
        assert not waiting.done()
        other.execute("COMMIT")
        other.close()
        assert await waiting == []
    finally:
        other.close()
        await db.close()
