"""Consents end to end without an engine: the real API, the real activities, the simulator; a stand-in between them."""

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import select

from activities.attempt import advance_attempt
from activities.deps import Deps, Limits
from activities.http import ProviderHttp
from activities.ids import ids_of
from activities.messages import AttemptOrder, AttemptResult
from api.deps import ApiDeps
from domain.errors import Problem
from domain.life import AttemptState, Kind
from providers.catalog import Catalog, load_catalog
from simulator.app import create_app as create_simulator
from simulator.settings import SimulatorSettings
from vault import credentials
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import AuthSession, Credential, Life, ProviderConfig, Visit
from workflows.messages import Freshness

SIMULATOR = "http://127.0.0.1:9300"
CALLBACK = "http://localhost:8080/oauth/callback"
CALLBACK_TLS = "https://app.example.com/oauth/callback"
DONE = "http://localhost:8080/done"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
LINK = re.compile(r'<a class="button" href="([^"]+)"')
FORM = re.compile(r'name="request" value="([^"]+)"')


@dataclass
class Engine:
    """Stands for `api.lives.Lives`: notes every call and, unless `idle` or `away`, does what a workflow would."""

    clock: Callable[[], datetime]
    deps: Deps | None = None
    away: bool = False
    idle: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)
    results: list[AttemptResult] = field(default_factory=list)
    refreshing: Callable[[Life, int], Awaitable[Freshness]] | None = None

    async def wake(self, life: Life) -> None:
        self._hear("wake", life.id)

    async def delete(self, life: Life) -> None:
        self._hear("delete", life.id)

    async def returned(self, life: Life, session_id: str) -> None:
        self._hear("returned", session_id)
        await self._advance(life, session_id)

    async def settled(self, life: Life, session_id: str, within: timedelta) -> bool:
        self.calls.append(("settled", session_id))
        return not (self.away or self.idle)

    async def choose_site(self, life: Life, session_id: str, within: timedelta) -> bool:
        self.calls.append(("choose_site", session_id))
        if not self.away:
            await self._advance(life, session_id)
        return not (self.away or self.idle)

    async def ensure_fresh(self, life: Life, seen: int, bucket: int, within: timedelta) -> Freshness:
        self.calls.append(("ensure_fresh", life.id))
        if self.away or self.refreshing is None:
            return Freshness(seen, pending=True)
        return await self.refreshing(life, seen)

    async def view(self, life: Life) -> None:
        self.calls.append(("view", life.id))

    async def ping(self) -> bool:
        return not self.away

    def heard(self, what: str) -> int:
        return sum(call == what for call, _ in self.calls)

    async def _advance(self, life: Life, session_id: str) -> None:
        if not self.idle:
            assert self.deps is not None
            self.results.append(await advance_attempt(self.deps, AttemptOrder(ids_of(life), session_id)))

    def _hear(self, what: str, which: str) -> None:
        self.calls.append((what, which))
        if self.away:
            raise Problem("temporal_unavailable", retry_after=2)


@dataclass
class Browser:
    """Keeps cookies by host, follows nothing unasked; reaches our API and the simulator, nothing else."""

    http: httpx.AsyncClient

    async def open(self, link: str) -> str:
        """Our link; answers the provider's consent URL."""
        page = await self.http.get(link)
        if page.status_code == 303:
            return page.headers["location"]
        found = LINK.search(page.text)
        assert page.status_code == 200, page.text
        assert found, page.text
        return html.unescape(found[1])

    async def decide(
        self, consent_url: str, person: str = "admin", sites: Sequence[str] = ("Acme Engineering",), allow: bool = True
    ) -> str:
        """Sign in at the provider and decide; answers the callback URL."""
        found = FORM.search((await self.http.get(consent_url)).text)
        assert found, consent_url
        form = {"request": found[1], "person": person, "decision": "allow" if allow else "deny"}
        sites = () if "/plain/" in consent_url else sites
        answer = await self.http.post(consent_url.split("?")[0], data=form | {"site": list(sites)})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def consent(self, link: str, **decision: Any) -> str:
        """From our link to the callback URL, not followed."""
        return await self.decide(await self.open(link), **decision)

    async def walk(self, link: str, **decision: Any) -> dict[str, str]:
        """The whole way; answers what the address of the builder's page says."""
        return said(await self.http.get(await self.consent(link, **decision)))


def said(answer: httpx.Response) -> dict[str, str]:
    """What the address says that the browser is sent on to; of our page that asks for a site, what it waits for."""
    assert answer.status_code == 303, answer.text
    parts = urlsplit(answer.headers["location"])
    if parts.path.startswith("/oauth/sites/"):
        return {"session_id": parts.path.rpartition("/")[2], "status": "awaiting_selection"}
    return dict(parse_qsl(parts.query))


@pytest.fixture
def simulator(clock: Any) -> FastAPI:
    settings = SimulatorSettings(redirect_uris=(CALLBACK_TLS,))
    return create_simulator(settings, lambda: clock().timestamp())


@pytest.fixture
async def provider(simulator: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The simulator, as a program reaches it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator), base_url=SIMULATOR) as http:
        yield http


@pytest.fixture
def fault(provider: httpx.AsyncClient) -> Callable[..., Awaitable[None]]:
    """`await fault("token", "html")`: the simulator misbehaves once."""

    async def make(endpoint: str, kind: str, **more: Any) -> None:
        answer = await provider.post("/_admin/faults", json={"endpoint": endpoint, "kind": kind, **more})
        assert answer.is_success, answer.text

    return make


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog(EXAMPLES, allow_loopback_http=True, origins={"jira": SIMULATOR})


@pytest.fixture
def lives(clock: Any) -> Engine:
    return Engine(clock)


@pytest.fixture
def engine(lives: Engine) -> Engine:
    return lives


@pytest.fixture
def deps(
    db: Database, sealer: Sealer, lives: Engine, clock: Any, development: bool, catalog: Catalog, simulator: Any
) -> ApiDeps:
    lives.deps = Deps(db, sealer, catalog, ProviderHttp(httpx.ASGITransport(simulator)), clock, Limits())
    return ApiDeps(db, sealer, catalog, lives, clock, development, wait=timedelta(seconds=1))  # type: ignore[arg-type]


@pytest.fixture
async def new_browser(app: FastAPI, simulator: FastAPI) -> AsyncIterator[Callable[[], Browser]]:
    opened: list[httpx.AsyncClient] = []

    def make() -> Browser:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            mounts={"all://127.0.0.1:9300": httpx.ASGITransport(simulator)},
            base_url="http://localhost:8080",
            headers={"accept": "text/html"},
        )
        opened.append(client)
        return Browser(client)

    yield make
    for client in opened:
        await client.aclose()


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    return new_browser()


@pytest.fixture
async def page(client_with: Any, new_key: Any) -> httpx.AsyncClient:
    """A frontend: presents a publishable key of the workspace `default`."""
    opened: httpx.AsyncClient = client_with(await new_key(role="publishable"))
    return opened


@pytest.fixture
def app_config(new_config: Any) -> Callable[..., Awaitable[ProviderConfig]]:
    """A provider config of the app that the simulator knows."""

    async def make(**fields: Any) -> ProviderConfig:
        given = {"client_id": "authpipe-dev", "client_secret": "authpipe-dev-secret", "oauth_redirect_url": CALLBACK}
        config: ProviderConfig = await new_config(**(given | fields))
        return config

    return make


@pytest.fixture
async def config(app_config: Any) -> ProviderConfig:
    """The usual one: Jira, attached to users, on plain http to loopback."""
    made: ProviderConfig = await app_config()
    return made


@pytest.fixture
def opening() -> Callable[..., dict[str, Any]]:
    """The body that opens a session, with changes; None takes a field out."""

    def body(**changes: Any) -> dict[str, Any]:
        given = {"provider": "jira", "tenant_id": "acme", "redirect_url": DONE} | changes
        return {name: value for name, value in given.items() if value is not None}

    return body


@pytest.fixture
def opened(client: httpx.AsyncClient, opening: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    """`await opened("installs")`: a session opened with the secret key, or with another client's."""

    async def open_(what: str = "installs", by: httpx.AsyncClient | None = None, **changes: Any) -> dict[str, Any]:
        answer = await (by or client).post(f"/oauth/{what}", json=opening(**changes))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    return open_


@pytest.fixture
def rows(db: Database) -> Callable[..., Awaitable[list[Any]]]:
    """Every row of a table."""

    async def read(table: Any) -> list[Any]:
        async with db.reading() as tx:
            return list((await tx.exec(select(table))).all())

    return read


@pytest.fixture
def session_row(db: Database) -> Callable[[str], Awaitable[AuthSession]]:
    async def read(session_id: str) -> AuthSession:
        async with db.reading() as tx:
            row = await tx.get(AuthSession, session_id)
        assert row is not None
        return row

    return read


@pytest.fixture
def change(db: Database) -> Callable[..., Awaitable[None]]:
    """`await change(Life, id, status="needs_reauth")`: what some other process wrote meanwhile."""

    async def write(table: Any, key: str, **columns: Any) -> None:
        async with db.transaction() as tx:
            row = await tx.get(table, key)
            assert row is not None
            for name, value in columns.items():
                setattr(row, name, value)

    return write


@pytest.fixture
async def installation(config: ProviderConfig, opened: Any, browser: Browser) -> str:
    """The id of an installation that tenant `acme` made through the front door."""
    outcome = await browser.walk((await opened("installs"))["authorization_url"])
    assert outcome["status"] == AttemptState.COMPLETED, outcome
    return outcome["installation_id"]


@pytest.fixture
def new_credential(db: Database, sealer: Sealer, clock: Any) -> Callable[..., Awaitable[Life]]:
    """`await new_credential(access="…")`: a life whose current credential really opens."""

    async def make(kind: Kind = Kind.CONNECTION, access: str = "access-1", **columns: Any) -> Life:
        now = clock()
        lifetime = columns.pop("lifetime", timedelta(hours=1))
        refresh, refused_at = columns.pop("refresh", "refresh-1"), columns.pop("refused_at", None)
        scopes = columns.pop("granted", ["read:jira-work"])
        number = len(access) + hash((kind, access, str(sorted(columns.items())))) % 10**9
        given = {
            "id": f"{'inst' if kind is Kind.INSTALLATION else 'conn'}_{number}",
            "workspace_id": "default",
            "kind": kind,
            "provider_id": "jira",
            "provider_config_id": "cfg_1",
            "tenant_id": "acme",
            "user_id": "" if kind is Kind.INSTALLATION else "user-1",
            "attachment": "user",
            "status": "active",
            "generation": 1,
            "next_generation": 2,
            "requested_scopes": ["read:jira-work"],
            "issued_at": now,
            "expires_at": now + lifetime if lifetime else None,
            "connected_at": now,
            "created_at": now,
            "updated_at": now,
        }
        life = Life(**(given | columns))
        sealed = await credentials.seal(sealer, life, life.generation, credentials.Secrets(access, refresh))
        row = Credential(
            id=f"cred_{number}",
            life_id=life.id,
            role=credentials.CURRENT,
            generation=life.generation,
            credential_type=credentials.OAUTH_TOKEN,
            key_id=sealed.key_id,
            sealed_access=sealed.access,
            sealed_refresh=sealed.refresh,
            scopes=scopes,
            issued_at=life.issued_at,
            expires_at=life.expires_at,
            refused_at=refused_at,
        )
        async with db.transaction() as tx:
            tx.add_all([life, row])
        return life

    return make


@pytest.fixture
def renew(db: Database, sealer: Sealer, clock: Any) -> Callable[..., Awaitable[Freshness]]:
    """What a workflow's refresh leaves behind: the next generation, good for another hour."""

    async def refreshed(life: Life, seen: int) -> Freshness:
        now, ends = clock(), clock() + timedelta(hours=1)
        sealed = await credentials.seal(sealer, life, seen + 1, credentials.Secrets(f"access-{seen + 1}", "refresh"))
        async with db.transaction() as tx:
            row = await tx.get(Life, life.id)
            credential = await credentials.current(tx, life.id)
            assert row
            assert credential
            row.generation, row.issued_at, row.expires_at = seen + 1, now, ends
            credential.generation, credential.issued_at, credential.expires_at = seen + 1, now, ends
            credential.sealed_access, credential.sealed_refresh = sealed.access, sealed.refresh
        return Freshness(seen + 1)

    return refreshed


@pytest.fixture
async def visits_of(db: Database) -> Callable[[str], Awaitable[list[Visit]]]:
    async def read(session_id: str) -> list[Visit]:
        async with db.reading() as tx:
            return list((await tx.exec(select(Visit).where(Visit.session_id == session_id))).all())

    return read
