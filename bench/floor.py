"""`python -m bench.floor DATABASE_URL PORT`: the least that a read of a secret over HTTP can be.

The same server class as the product's, one select by key on a driver's own connection, one AES-GCM open, a typed
answer. Whoever asks is asked for nothing. A table of its own, in a database of its own.
"""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import asyncpg  # type: ignore[import-untyped]
import uvicorn
import uvloop
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import FastAPI
from pydantic import BaseModel

TABLE = "CREATE TABLE floor (id TEXT PRIMARY KEY, sealed {bytes} NOT NULL, expires_at TEXT NOT NULL)"
INSERT = "INSERT INTO floor (id, sealed, expires_at) VALUES ({})"
SELECT = "SELECT sealed, expires_at FROM floor WHERE id = {}"
EXPIRES_AT = "2030-01-01T00:00:00+00:00"
SECRET = b"a" * 1000
POOL = 10

Find = Callable[[str], Awaitable[Any]]


class Wanted(BaseModel):
    id: str


class Answer(BaseModel):
    credential: str
    expires_at: str


def rows(count: int, key: bytes) -> list[tuple[str, bytes, str]]:
    """What the table holds."""
    return [(name(number), _sealed(key), EXPIRES_AT) for number in range(count)]


def name(number: int) -> str:
    return f"row_{number:06}"


def _sealed(key: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, SECRET, b"")


@asynccontextmanager
async def on_sqlite(path: str, filled: list[tuple[str, bytes, str]]) -> AsyncIterator[Find]:
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute(TABLE.format(bytes="BLOB"))
        await connection.executemany(INSERT.format("?, ?, ?"), filled)

        async def find(key: str) -> Any:
            async with connection.execute(SELECT.format("?"), (key,)) as cursor:
                return await cursor.fetchone()

        yield find


@asynccontextmanager
async def on_postgres(url: str, filled: list[tuple[str, bytes, str]]) -> AsyncIterator[Find]:
    async with asyncpg.create_pool(url, min_size=POOL, max_size=POOL, server_settings={"jit": "off"}) as pool:
        await pool.execute(TABLE.format(bytes="BYTEA"))
        await pool.executemany(INSERT.format("$1, $2, $3"), filled)

        async def find(key: str) -> Any:
            async with pool.acquire() as connection:
                return await connection.fetchrow(SELECT.format("$1"), key)

        yield find


def application(find: Find, key: bytes) -> FastAPI:
    """Two routes: the floor, and one to ask whether it is there."""
    app = FastAPI()

    @app.post("/read")
    async def read(body: Wanted) -> Answer:
        sealed, expires_at = await find(body.id)
        return Answer(credential=AESGCM(key).decrypt(sealed[:12], sealed[12:], b"").decode(), expires_at=expires_at)

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {}

    return app


async def main(url: str, port: int, count: int) -> None:
    key = AESGCM.generate_key(256)
    opened = on_postgres if url.startswith("postgresql") else on_sqlite
    async with opened(url, rows(count, key)) as find:
        config = uvicorn.Config(
            application(find, key), port=port, loop="none", http="httptools", ws="none", log_config=None,
            access_log=False, server_header=False,
        )  # fmt: skip
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
