"""SIGTERM in the middle of everything: programs of their own, told to end while they are at something."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from runtime.ports import free_port
from runtime.settings import load_settings
from runtime.vault_setup import add_api_key
from tests.runtime.doctoring import KEY
from vault.revisions import alembic_config

pytestmark = pytest.mark.slow  # runs in `make rehearse`

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90
FULL = Path("/dev/full")


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
    _, said = await asyncio.to_thread(child.communicate, timeout=PATIENCE_SECONDS)
    return child.returncode, said or ""


async def up(origin: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"{origin}/health/live")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def refuses(port: int) -> None:
    """Returns once nobody listens there any more."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.05)


async def test_the_api_answers_what_is_under_way_and_then_ends(environment: dict[str, str]) -> None:
    _, key = await add_api_key(load_settings(), "default", "test", "secret")
    port, body = int(environment["AUTHPIPE_API_PORT"]), b'{"name": "late", "role": "secret"}'
    head = (
        f"POST /api/api-keys HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with running("-m", "runtime.cli", "api") as child:
        await up(f"http://127.0.0.1:{port}")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        # The route has begun, and waits for its body.
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        child.send_signal(signal.SIGTERM)
        await refuses(port)
        writer.write(body)
        answer = await reader.read()
        writer.close()
        code, _ = await ended(child)
    assert (answer.split()[1], b'"key":"ap_sk_' in answer, code) == (b"201", True, 0)


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


async def test_a_migration_is_done_whole_or_not_at_all(
    environment: dict[str, str],
    before_the_last: AsyncConnection,
    new_postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", new_postgres_url)
    with running("-m", "runtime.cli", "migrate") as child:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await one(before_the_last, "SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        code, said = await ended(child)
    assert (code, said) == (143, "authpipe: ended by SIGTERM\n")
    assert await one(before_the_last, "SELECT version_num FROM alembic_version") == "0003"
    added = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'probe_interval_seconds'"
    assert await one(before_the_last, added) == 0


@pytest.fixture
def full() -> Iterator[IO[str]]:
    """Where every write says that there is no room."""
    if not FULL.exists():
        pytest.skip("there is no /dev/full here")
    with FULL.open("w") as opened:
        yield opened


async def test_the_api_serves_although_its_log_cannot_be_written(environment: dict[str, str], full: IO[str]) -> None:
    origin = f"http://127.0.0.1:{environment['AUTHPIPE_API_PORT']}"
    with running("-m", "runtime.cli", "api", stdout=full, stderr=full) as child:
        await up(origin)
        async with httpx.AsyncClient(base_url=origin) as client:
            answers = [(await client.get(path)).status_code for path in ("/health/live", "/providers", "/nowhere")]
        child.send_signal(signal.SIGTERM)
        code, _ = await ended(child)
    assert (answers, code) == ([200, 401, 404], 0)


async def test_an_answer_that_cannot_be_written_is_said_in_one_line(environment: dict[str, str], full: IO[str]) -> None:
    with running("-m", "runtime.cli", "openapi", stdout=full) as child:
        code, said = await ended(child)
    assert (code, said) == (
        1,
        "authpipe: the output cannot be written (No space left on device); make room and repeat it\n",
    )
