"""A sweep also does away with what nobody may use any more."""

from typing import Any

import pytest
from sqlmodel import select

from runtime.sweeper import sweep
from vault import configs
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import ClientSecret


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def test_client_secrets_are_destroyed_once_their_grace_is_over(db: Database, sealer: Sealer, clock: Any) -> None:
    new = NewConfig("jira", "client", "first", "https://app.example.com/oauth/callback", "user")
    config = await configs.create(db, sealer, "default", new, clock())
    await configs.change(db, sealer, "default", config.id, clock(), client_secret="second")
    nobody: Any = None  # nothing went unheard
    assert await sweep(db, nobody, clock()) == 0
    assert await kept(db) == [True, True]
    assert await sweep(db, nobody, clock() + configs.SECRET_GRACE) == 0
    assert await kept(db) == [False, True]


async def kept(db: Database) -> list[bool]:
    async with db.reading() as tx:
        return [row.sealed_secret is not None for row in await tx.exec(select(ClientSecret).order_by("version"))]
