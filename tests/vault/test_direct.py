"""Transactions past the session: what they promise is what a session's do, on both databases."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import col

from vault.database import Database, announce
from vault.drivers import _to_its_end
from vault.tables import Life, Workspace, plain

Open = Callable[..., Database]
WORKSPACE = plain(Workspace)
ADD = insert(WORKSPACE)
RENAME = update(WORKSPACE).where(WORKSPACE.c.id == bindparam("which")).values(name=bindparam("name"))
CLAIM = RENAME.returning(WORKSPACE.c.id, WORKSPACE.c.created_at)
NAMES = select(col(Workspace.name)).order_by(col(Workspace.name))
SLOW = select(func.pg_sleep(30))


@pytest.fixture
async def another_process(opened: Open, database_url: str) -> Database:
    return opened(database_url)


@pytest.fixture
def one(now: Any) -> dict[str, Any]:
    return {"id": "ws_1", "name": "one", "created_at": now}


async def add(db: Database, row: dict[str, Any]) -> None:
    async with db.directly() as tx:
        await tx.exec(ADD, params=row)


@contextmanager
def writing(url: str) -> Iterator[None]:
    """Another process writes to the file meanwhile."""
    with closing(sqlite3.connect(url.partition("///")[2], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


async def names(db: Database) -> list[str]:
    return [name for (name,) in await db.rows(NAMES, {})]


async def test_what_was_written_stands_after_the_end_alone(
    db: Database, another_process: Database, one: dict[str, Any], now: Any
) -> None:
    async with db.directly() as tx:
        assert (await tx.exec(ADD, params=one)).rowcount == 1
        assert "one" not in await names(another_process)
        assert (await tx.exec(RENAME, params={"which": "nobody", "name": "x"})).rowcount == 0
        answer = await tx.exec(CLAIM, params={"which": "ws_1", "name": "two"})
        assert (answer.rows, answer.scalar_one_or_none()) == ([("ws_1", now)], "ws_1")
        assert (await tx.exec(CLAIM, params={"which": "nobody", "name": "x"})).scalar_one_or_none() is None
    assert "two" in await names(another_process)


async def test_an_error_takes_all_back_and_the_next_one_goes_on(db: Database, one: dict[str, Any]) -> None:
    async def fail() -> None:
        async with db.directly() as tx:
            await tx.exec(ADD, params=one)
            raise ZeroDivisionError

    for _ in range(12):  # more often than there are connections
        with pytest.raises(ZeroDivisionError):
            await fail()
    assert "one" not in await names(db)
    async with db.directly() as tx:
        await tx.exec(ADD, params=one)
    assert "one" in await names(db)


async def test_what_was_undone_left_nothing_and_told_nobody(db: Database, one: dict[str, Any]) -> None:
    heard: list[str] = []
    db.on_events = heard.append
    async with db.directly() as tx:
        await tx.exec(ADD, params=one)
        announce(tx, "default")
        tx.undo()
    assert ("one" in await names(db), heard) == (False, [])
    async with db.directly() as tx:
        await tx.exec(ADD, params=one)
        announce(tx, "default")
        assert heard == []
    assert heard == ["default"]


async def test_it_fails_as_a_session_does(db: Database, one: dict[str, Any]) -> None:
    async with db.directly() as tx:
        await tx.exec(ADD, params=one)
    again = one | {"name": None}
    with pytest.raises(IntegrityError) as caught:
        async with db.directly() as tx:
            await tx.exec(ADD, params=again | {"id": "canary"})
    with pytest.raises(IntegrityError) as theirs:
        async with db.transaction() as session:
            await session.exec(ADD, params=again | {"id": "canary"})
    assert "canary" not in str(caught.value) + str(theirs.value) + str(caught.value.__cause__)
    with pytest.raises(KeyError, match="name"):
        async with db.directly() as tx:
            await tx.exec(RENAME, params={"which": "ws_1"})
    assert "one" in await names(db)


async def test_a_database_that_refuses_is_a_database_error(db: Database) -> None:
    nowhere = select(func.no_such_function()).select_from(Life)
    with pytest.raises(DBAPIError):
        async with db.directly() as tx:
            await tx.exec(nowhere, params={})


async def test_none_within_another_of_either_kind(db: Database) -> None:
    async def nest(outer: Any, inner: Any) -> None:
        async with outer(), inner():
            pass

    for outer, inner in ((db.directly, db.transaction), (db.transaction, db.directly), (db.directly, db.directly)):
        with pytest.raises(RuntimeError, match="inside another"):
            await nest(outer, inner)


async def test_many_at_once_all_get_their_turn(db: Database, one: dict[str, Any]) -> None:
    async def add(number: int) -> None:
        await asyncio.sleep(0)
        async with db.directly() as tx:
            await tx.exec(ADD, params=one | {"id": f"ws_{number}", "name": f"name {number:03}"})

    await asyncio.gather(*(add(number) for number in range(40)))
    assert [name for name in await names(db) if name.startswith("name")] == [f"name {n:03}" for n in range(40)]


async def test_a_session_and_a_direct_one_write_in_turn(db: Database, one: dict[str, Any], now: Any) -> None:
    async def by_session(number: int) -> None:
        async with db.transaction() as tx:
            tx.add(Workspace(id=f"session_{number}", name="by session", created_at=now))

    async def directly(number: int) -> None:
        async with db.directly() as tx:
            await tx.exec(ADD, params=one | {"id": f"direct_{number}", "name": "directly"})

    await asyncio.gather(*(way(number) for number in range(15) for way in (by_session, directly)))
    found = await names(db)
    assert (found.count("by session"), found.count("directly")) == (15, 15)


async def test_a_postgresql_that_is_away_is_an_os_error(opened: Open) -> None:
    with pytest.raises(OSError, match="1"):
        async with opened("postgresql+asyncpg://nobody@127.0.0.1:1/nothing").directly():
            pass


async def test_a_connection_that_is_cut_undoes_what_was_written_and_is_not_kept(
    opened: Open, postgres: Any, postgres_vault: str, postgres_url: str, one: dict[str, Any]
) -> None:
    db = opened(postgres_url)

    async def cut() -> None:
        async with db.directly() as tx:
            await tx.exec(ADD, params=one)
            postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{postgres_vault}'")
            await tx.exec(RENAME, params={"which": "ws_1", "name": "two"})

    with pytest.raises(OperationalError):
        await cut()
    async with db.directly() as tx:
        assert (await tx.exec(RENAME, params={"which": "ws_1", "name": "two"})).rowcount == 0


async def test_one_that_was_given_up_leaves_its_connection_to_nobody(opened: Open, postgres_url: str) -> None:
    db = opened(postgres_url, pool_size=2)

    async def wait() -> None:
        async with db.directly() as tx:
            await tx.exec(SLOW, params={})

    for _ in range(3):  # more often than there are connections
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.1)
        assert db._direct._driver._kept == []
    assert await names(db) is not None


async def test_a_file_another_process_writes_is_waited_for_and_holds_up_nobody(
    opened: Open, sqlite_url: str, one: dict[str, Any]
) -> None:
    db = opened(sqlite_url)
    with writing(sqlite_url):
        waiting = asyncio.create_task(add(db, one))
        await asyncio.sleep(0.05)  # the loop turns meanwhile
        assert not waiting.done()
    await waiting
    assert "one" in await names(db)


async def test_a_direct_commit_outlives_a_power_cut(opened: Open, sqlite_url: str, one: dict[str, Any]) -> None:
    db = opened(sqlite_url)
    async with db.directly() as tx:
        await tx.exec(ADD, params=one)
    writer = db._direct._driver._writer
    told = [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert told == ["wal", 2, 1]


async def test_who_is_cancelled_waits_for_what_has_begun_however_often() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        go_on.wait(5)
        done.append(True)

    waiting = asyncio.create_task(_to_its_end(work))
    await asyncio.to_thread(begun.wait, 5)
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done == [True]


async def test_one_that_was_cancelled_while_it_waited_for_the_file_keeps_nobody_out(
    opened: Open, sqlite_url: str, one: dict[str, Any], now: Any
) -> None:
    db = opened(sqlite_url)
    with writing(sqlite_url):
        waiting = asyncio.create_task(add(db, one))
        await asyncio.sleep(0.05)  # until it waits
        waiting.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with db.transaction() as tx:
        tx.add(Workspace(id="ws_2", name="two", created_at=now))
    found = await names(db)
    assert ("one" in found, "two" in found) == (False, True)
