"""SIGTERM in the middle of everything: programs of their own, told to end while they are at something."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from runtime.ports import free_port
from runtime.settings import load_settings
from runtime.vault_setup import add_api_key
from tests.runtime.doctoring import KEY
from vault.database import alembic_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    given = {
        "AUTHPIPE_DATA_DIR": str(tmp_path),
        "AUTHPIPE_DATABASE_URL": sqlite_url,
        "AUTHPIPE_KEY_ENCRYPTION_KEY": KEY,
        "AUTHPIPE_API_PORT": str(free_port()),
        "AUTHPIPE_TEMPORAL_PORT": str(free_port()),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


@contextmanager
def running(*words: str, **streams: Any) -> Iterator["subprocess.Popen[str]"]:
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    child = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=os.environ.copy(), text=True, **piped)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def ended(child: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and stderr of a program that was told to end."""
    _, said = await asyncio.to_thread(child.communicate, timeout=30)
    return child.returncode, said or ""


async def up(origin: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"{origin}/health/live")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_the_api_answers_what_is_under_way_and_then_ends(environment: dict[str, str], sqlite_url: str) -> None:
    _, key = await add_api_key(load_settings(), "default", "test", "secret")
    origin = f"http://127.0.0.1:{environment['AUTHPIPE_API_PORT']}"
    file = sqlite_url.removeprefix("sqlite+aiosqlite:///")
    with running("-m", "runtime.cli", "api") as child, closing(sqlite3.connect(file, isolation_level=None)) as other:
        await up(origin)
        async with httpx.AsyncClient(base_url=origin, headers={"authorization": f"Bearer {key}"}) as client:
            assert (await client.get("/api/api-keys")).status_code == 200
            # Another writer keeps the database, so that this request is still under way when we end.
            other.execute("BEGIN IMMEDIATE")
            asked = asyncio.create_task(client.post("/api/api-keys", json={"name": "late", "role": "secret"}))
            await asyncio.sleep(0.3)
            child.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert child.poll() is None
            other.execute("ROLLBACK")
            answer = await asked
        code, _ = await ended(child)
    assert (answer.is_success, answer.json()["name"], code) == (True, "late", 0)


async def test_a_worker_that_waits_for_temporal_ends_when_it_is_told_to(environment: dict[str, str]) -> None:
    with running("-m", "worker") as child:
        said = await asyncio.to_thread(child.stderr.readline)  # type: ignore[union-attr]
        assert "Temporal does not answer yet" in said
        child.send_signal(signal.SIGTERM)
        assert (await ended(child))[0] == 0


@pytest.fixture
async def before_the_last(new_postgres_url: str) -> AsyncIterator[AsyncConnection]:
    """A database at revision 0003, whose outbox somebody reads: 0004 alters it after much else, and has to wait."""
    engine = create_async_engine(new_postgres_url)
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade_to, "0003")
    async with engine.connect() as connection:
        await connection.exec_driver_sql("LOCK TABLE outbox IN ACCESS SHARE MODE")
        yield connection
    await engine.dispose()


def _upgrade_to(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def one(connection: AsyncConnection, question: str) -> Any:
    return (await connection.exec_driver_sql(question)).scalar_one()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_migration_is_done_whole_or_not_at_all(
    environment: dict[str, str],
    before_the_last: AsyncConnection,
    new_postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", new_postgres_url)
    with running("-m", "runtime.cli", "migrate") as child:
        async with asyncio.timeout(30):
            while not await one(before_the_last, "SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        child.send_signal(number)
        code, said = await ended(child)
    by = {signal.SIGTERM: (143, "authpipe: ended by SIGTERM\n"), signal.SIGINT: (130, "authpipe: interrupted\n")}
    assert (code, said) == by[number]
    assert await one(before_the_last, "SELECT version_num FROM alembic_version") == "0003"
    added = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'probe_interval_seconds'"
    assert await one(before_the_last, added) == 0
