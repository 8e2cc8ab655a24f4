from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from sqlalchemy import text

from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.revisions import head

ALL_WELL = {"database": "ok", "migrations": "ok", "keys": "ok", "temporal": "ok"}


@pytest.fixture
def anybody(client_with: Any) -> httpx.AsyncClient:
    opened: httpx.AsyncClient = client_with("")
    return opened


async def test_liveness_asks_for_no_key_and_no_part(anybody: httpx.AsyncClient, db: Any, lives: Any) -> None:
    await db.close()
    lives.away = True
    answer = await anybody.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readiness_names_every_part(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "parts": ALL_WELL})


async def test_readiness_names_temporal_when_it_is_down_and_goes_on_serving(
    anybody: httpx.AsyncClient, lives: Any
) -> None:
    lives.away = True
    answer = await anybody.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "parts": ALL_WELL | {"temporal": "does not answer"}}


async def test_readiness_names_the_database_when_it_is_gone(
    anybody: httpx.AsyncClient, deps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> Any:
        raise ConnectionRefusedError("host=10.0.0.5 user=canary")

    monkeypatch.setattr(deps.db, "_bare", Mock(connect=refused))
    answer = await anybody.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] == "does not answer"
    assert "canary" not in answer.text


@pytest.fixture
async def at_revision(db: Any) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Sets the revision of the database, and what that revision says of older versions; as it was at the end."""

    async def run(*statements: str) -> None:
        async with db.transaction() as tx:
            for statement in statements:
                await tx.exec(text(statement))

    async def at(revision: str, serves_from: str = "") -> None:
        marks = [f"INSERT INTO schema_mark VALUES ('{revision}', '{serves_from}')"] if serves_from else []
        await run(f"UPDATE alembic_version SET version_num = '{revision}'", *marks)

    yield at
    await run(f"UPDATE alembic_version SET version_num = '{head()}'")


async def test_readiness_says_that_migrations_are_missing(anybody: httpx.AsyncClient, at_revision: Any) -> None:
    await at_revision("0001")
    answer = await anybody.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["migrations"] == "behind: run `authpipe migrate`"


async def test_it_stays_ready_on_a_newer_schema_that_this_version_may_serve(
    anybody: httpx.AsyncClient, at_revision: Any
) -> None:
    """Else a balancer would take every old process out as soon as the new version's migrations have run (ADR 0016)."""
    await at_revision("9999_later", serves_from=head())
    answer = await anybody.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "parts": ALL_WELL})


async def test_it_is_not_ready_on_a_newer_schema_that_shuts_this_version_out(
    anybody: httpx.AsyncClient, at_revision: Any
) -> None:
    await at_revision("9999_later", serves_from="9998_later")
    answer = await anybody.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["migrations"] == "of a newer version: run that version"


async def test_readiness_says_that_the_keys_do_not_fit(
    anybody: httpx.AsyncClient, deps: Any, db: Any, sealer: Any, clock: Any
) -> None:
    await sealer.keys.data_key("default")
    sealer.keys = Keys(SqlKeyStore(db), KeyRing({"test": b"o" * 32}, active="test"), clock)
    answer = await anybody.get("/health/ready")
    assert (answer.status_code, answer.json()["parts"]["keys"]) == (503, "do not open the vault")
