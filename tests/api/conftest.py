"""The whole API over a real vault on SQLite; Temporal alone is a stand-in, at the edge of the unit."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.deps import ApiDeps
from domain.errors import Problem
from domain.life import Kind, Status
from providers.catalog import Catalog, load_catalog
from tests.applications import the_api
from vault import configs
from vault.api_keys import create_key, ensure_workspace
from vault.configs import NewConfig
from vault.credentials import CURRENT, OAUTH_TOKEN
from vault.crypto import Sealer
from vault.database import Database
from vault.ids import new_id
from vault.tables import Credential, Life, ProviderConfig
from workflows.messages import Freshness, LifeView

LIFETIME = timedelta(hours=1)
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@dataclass
class FakeLives:
    """Stands for the workflows: notes what it is told, answers what a test sets."""

    away: bool = False
    views: dict[str, LifeView] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    refreshing: Callable[[Life], Awaitable[None]] | None = None

    async def wake(self, life: Life) -> None:
        self._tell("wake", life)

    async def delete(self, life: Life) -> None:
        self._tell("delete", life)

    async def view(self, life: Life) -> LifeView | None:
        return None if self.away else self.views.get(life.id)

    async def ensure_fresh(self, life: Life, seen: int, bucket: int, within: timedelta) -> Freshness:
        self.asked.append((life.id, seen, bucket))
        if self.refreshing is None or self.away:
            return Freshness(seen, pending=True)
        await self.refreshing(life)
        return Freshness(seen + 1)

    async def ping(self) -> bool:
        return not self.away

    def _tell(self, what: str, life: Life) -> None:
        if self.away:
            raise Problem("temporal_unavailable", retry_after=2)
        self.told.append((what, life.id))


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def lives() -> FakeLives:
    return FakeLives()


@pytest.fixture
def development() -> bool:
    """Override to see production."""
    return True


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog(EXAMPLES, allow_loopback_http=True)


@pytest.fixture
def deps(db: Database, sealer: Sealer, catalog: Catalog, lives: Any, clock: Any, development: bool) -> ApiDeps:
    return ApiDeps(db, sealer, catalog, lives, clock, development, wait=timedelta(seconds=1))


@pytest.fixture
def app(deps: ApiDeps) -> FastAPI:
    return the_api(deps)


@pytest.fixture
async def client_with(app: FastAPI) -> AsyncIterator[Callable[[str], httpx.AsyncClient]]:
    """`client_with(key)`: a client that presents this key; an exception that leaves the application fails the test."""
    opened: list[httpx.AsyncClient] = []

    def open_client(key: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api", headers=headers)
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        await client.aclose()


@pytest.fixture
async def new_key(db: Database, clock: Any) -> Callable[..., Awaitable[str]]:
    """`await new_key(workspace, role)`: a key, its workspace made if need be."""

    async def make(workspace: str = "default", role: Any = "secret") -> str:
        await ensure_workspace(db, workspace, clock())
        return (await create_key(db, workspace, f"{role} key", role, clock()))[1]

    return make


@pytest.fixture
async def client(client_with: Any, new_key: Any) -> httpx.AsyncClient:
    """Presents a secret key of the workspace `default`."""
    opened: httpx.AsyncClient = client_with(await new_key())
    return opened


@pytest.fixture
async def stranger(client_with: Any, new_key: Any) -> httpx.AsyncClient:
    """Presents a secret key of another workspace."""
    opened: httpx.AsyncClient = client_with(await new_key("another"))
    return opened


@pytest.fixture
def new_config(db: Database, sealer: Sealer, clock: Any) -> Callable[..., Awaitable[ProviderConfig]]:
    async def make(workspace: str = "default", **fields: Any) -> ProviderConfig:
        given = {
            "provider_id": "jira",
            "client_id": "client",
            "client_secret": "canary-client-secret",
            "oauth_redirect_url": "https://app.example.com/oauth/callback",
            "attachment": "user",
        }
        return await configs.create(db, sealer, workspace, NewConfig(**(given | fields)), clock())

    return make


@pytest.fixture
def new_life(db: Database, clock: Any) -> Callable[..., Awaitable[Life]]:
    """`await new_life(kind, config_id, **columns)`: an active life with a current credential of one hour."""
    number = itertools.count(1)

    async def make(kind: Kind = Kind.CONNECTION, config_id: str = "cfg_1", **fields: Any) -> Life:
        now, n = clock(), next(number)
        columns = {
            "id": new_id("inst" if kind is Kind.INSTALLATION else "conn"),
            "workspace_id": "default",
            "kind": kind,
            "provider_id": "jira",
            "provider_config_id": config_id,
            "tenant_id": "acme",
            "user_id": "" if kind is Kind.INSTALLATION else f"user-{n}",
            "label": f"label-{n}" if kind is Kind.INSTALLATION else "default",
            "attachment": "tenant" if kind is Kind.INSTALLATION else "user",
            "account_id": f"account-{n}",
            "status": Status.ACTIVE,
            "generation": 1,
            "next_generation": 2,
            "requested_scopes": ["read:jira-work", "offline_access"],
            "issued_at": now,
            "expires_at": now + LIFETIME,
            "next_due_at": now + LIFETIME * 0.8,
            "created_at": now,
            "connected_at": now,
            "updated_at": now,
        }
        life = Life(**(columns | fields))
        async with db.transaction() as tx:
            tx.add(life)
            if life.generation:
                tx.add(_credential(life))
        return life

    return make


def _credential(life: Life) -> Credential:
    return Credential(
        id=new_id("cred"),
        life_id=life.id,
        role=CURRENT,
        generation=life.generation,
        credential_type=OAUTH_TOKEN,
        key_id="dek_1",
        sealed_access=b"sealed",
        sealed_refresh=b"sealed",
        issued_at=life.issued_at,
        expires_at=life.expires_at,
    )


@pytest.fixture
def refreshes(db: Database, clock: Any, lives: FakeLives) -> Callable[[Life], Awaitable[None]]:
    """What a workflow does when it is asked to refresh: a new generation of the credential, and of the row."""

    async def refresh(life: Life) -> None:
        now: datetime = clock()
        async with db.transaction() as tx:
            row = await tx.get(Life, life.id)
            assert row is not None
            credential = (await tx.exec(_current(life.id))).one()
            for changed in (row, credential):
                changed.generation += 1
                changed.issued_at, changed.expires_at = now, now + LIFETIME

    lives.refreshing = refresh
    return refresh


def _current(life_id: str) -> Any:
    from sqlmodel import select

    return select(Credential).where(Credential.life_id == life_id)
