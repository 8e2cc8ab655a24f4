"""Rows to start from, for what the vault keeps of lives and attempts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from domain.credential import CredentialRef
from domain.life import AttemptState, Kind
from vault import credentials
from vault.credentials import Secrets
from vault.crypto import Sealer
from vault.database import Database
from vault.ids import new_id
from vault.lives import LifeKey, find_or_create, get_life
from vault.tables import AuthSession, Credential, Life, Visit

Make = Callable[..., Awaitable[Any]]


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Database]]:
    """Opens databases and closes them after the test, however it ends."""
    databases: list[Database] = []

    def opened(url: str, **options: int) -> Database:
        databases.append(Database.open(url, **options))
        return databases[-1]

    yield opened
    for db in databases:
        await db.close()


@pytest.fixture
def new_life(db: Database, clock: Any) -> Make:
    """`await new_life(tenant_id="acme", …)`: a life that was never active."""

    async def make(kind: Kind = Kind.CONNECTION, **key: Any) -> Life:
        whole = {"workspace_id": "default", "provider_config_id": "cfg_1", "tenant_id": "acme", **key}
        return await find_or_create(db, LifeKey(kind=kind, **whole), "jira", "user", ["read"], clock.now)

    return make


@pytest.fixture
async def life(new_life: Make) -> Life:
    return await new_life()


@pytest.fixture
def row_of(db: Database) -> Make:
    """`await row_of(life)`: the row as it stands."""

    async def read(life: Life) -> Life:
        async with db.reading() as tx:
            found = await get_life(tx, life.id)
        assert found is not None
        return found

    return read


@pytest.fixture
def new_candidate(db: Database, sealer: Sealer, clock: Any) -> Make:
    """`await new_candidate(life, session_id, generation)`: a stored, sealed candidate."""

    async def make(life: Life, session_id: str = "sess_1", generation: int = 1, access: str = "canary-a") -> Credential:
        sealed = await credentials.seal(sealer, life, generation, Secrets(access, "canary-r"))
        row = credentials.new_candidate(life, session_id, CredentialRef(generation, clock.now, None, True), sealed)
        async with db.transaction() as tx:
            tx.add(row)
        return row

    return make


@pytest.fixture
def new_current(db: Database, sealer: Sealer, new_candidate: Make) -> Make:
    """The same, promoted."""

    async def make(life: Life, session_id: str = "sess_1", generation: int = 1, access: str = "canary-a") -> Credential:
        row = await new_candidate(life, session_id, generation, access)
        sealed = await credentials.seal(sealer, life, generation, Secrets(access, "canary-r"))
        async with db.transaction() as tx:
            await credentials.promote(tx, row, credentials.reference(row), sealed)
        async with db.reading() as tx:
            found = await credentials.current(tx, life.id)
        assert found is not None
        return found

    return make


@pytest.fixture
def new_session(db: Database, clock: Any) -> Make:
    """`await new_session(life, …)`: a pending attempt, for a quarter of an hour."""

    async def make(life: Life, **changes: Any) -> AuthSession:
        values = {
            "id": new_id("sess"),
            "workspace_id": "default",
            "life_id": life.id,
            "kind": life.kind,
            "provider_id": life.provider_id,
            "provider_config_id": life.provider_config_id,
            "tenant_id": life.tenant_id,
            "state": AttemptState.PENDING,
            "redirect_url": "http://localhost/done",
            "oauth_redirect_url": "http://localhost/oauth/callback",
            "opened_by": "secret",
            "created_at": clock.now,
            "expires_at": clock.now.replace(minute=15),
        }
        session = AuthSession(**(values | changes))
        async with db.transaction() as tx:
            tx.add(session)
        return session

    return make


@pytest.fixture
def new_visit(clock: Any) -> Callable[..., Visit]:
    """`new_visit(session)`: one browser's visit, not stored yet."""

    def make(session: AuthSession) -> Visit:
        return Visit(
            id=new_id("visit"),
            session_id=session.id,
            state_hash=new_id("state"),
            cookie_hash="cookie",
            sealed_verifier=b"sealed",
            created_at=clock.now,
        )

    return make
