"""Activities called as functions, over a real vault on both databases and the simulator in process, on one clock."""

import asyncio
import hashlib
import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select

from activities.attempt import advance_attempt, close_attempt
from activities.deps import Deps, Limits
from activities.http import ProviderHttp
from activities.ids import ids_of
from activities.messages import AttemptOrder, AttemptResult, RefreshOrder, RefreshResult
from activities.refresh import refresh
from domain.life import AttemptState, Kind, Status
from domain.oauth.authorize import code_challenge
from domain.serving import Reading
from providers.catalog import Catalog, load_catalog
from providers.flows import consent_url
from tests.applications import the_simulator
from vault import configs, credentials, deletions, lives, reading, sessions
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.ids import new_id
from vault.sealing import CODE, VERIFIER, session_owner, visit_owner
from vault.tables import (
    AccountGrant,
    AuthSession,
    Credential,
    Event,
    Life,
    ProviderConfig,
    TokenAttempt,
    Tombstone,
    Visit,
)

ORIGIN = "http://127.0.0.1:9300"
CALLBACK = "http://127.0.0.1:8080/oauth/callback"
SECRET = "authpipe-dev-secret"
ENGINEERING, SUPPORT = "Acme Engineering", "Acme Support"
VERIFIER_TEXT = "v" * 43
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@dataclass
class Interposed:
    """A database whose next transactions go wrong, or are preceded by something, as the test sets.

    Each entry of `script` is for one transaction: None lets it be, `away` and `answer_lost` break it, and anything
    else is awaited before it begins.
    """

    inner: Database
    script: list[Any] = field(default_factory=list)
    count: int = 0
    begun: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        self.begun.append("transaction")
        return self._in_its_turn(self.inner.transaction)

    def directly(self) -> AbstractAsyncContextManager[Any]:
        self.begun.append("directly")
        return self._in_its_turn(self.inner.directly)

    @asynccontextmanager
    async def _in_its_turn(self, begin: Callable[[], AbstractAsyncContextManager[Any]]) -> AsyncIterator[Any]:
        self.count += 1
        step = self.script.pop(0) if self.script else None
        if step == "away":
            raise OperationalError("BEGIN", {}, ConnectionError())
        if callable(step):
            await step()
        async with begin() as tx:
            yield tx
        if step == "answer_lost":
            raise OperationalError("COMMIT", {}, ConnectionError())


class Client(httpx.ASGITransport):
    """The way to the provider. `on_send` is called with every request's path before it goes out."""

    on_send: Callable[[str], Awaitable[None]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.on_send is not None:
            await self.on_send(request.url.path)
        return await super().handle_async_request(request)


@dataclass
class Stage:
    """What a test stands on: the vault, the provider, and the steps that lead to a connected life."""

    deps: Deps
    clock: Any
    admin: httpx.AsyncClient
    wire: Client
    configs: dict[str, ProviderConfig]

    # --- the provider -----------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.admin.request(method, f"/_admin/{path}", json=body if method != "GET" else None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def fault(self, endpoint: str, kind: str, **more: Any) -> None:
        await self.ask("POST", "faults", endpoint=endpoint, kind=kind, **more)

    async def asked(self, endpoint: str = "token") -> int:
        return int((await self.ask("GET", "counters"))[endpoint])

    async def grant(self) -> Any:
        """The only grant the provider knows."""
        (only,) = await self.ask("GET", "grants")
        return only

    async def valid(self, kind: str, token: str | None) -> bool:
        return bool((await self.known(kind, token))["valid"])

    async def known(self, kind: str, token: str | None) -> Any:
        digest = hashlib.sha256((token or "").encode()).hexdigest()
        return await self.ask("GET", f"lookup?{kind}_token_sha256={digest}")

    # --- the vault --------------------------------------------------------------------------------------------------

    async def life(self, kind: Kind = Kind.INSTALLATION, provider: str = "jira", **key: Any) -> Life:
        """A new life, never active yet."""
        if kind is Kind.CONNECTION:
            key = {"user_id": "ann", **key}
        config = self.configs[provider]
        whole = lives.LifeKey("default", kind, config.id, **{"tenant_id": "acme", **key})
        return await lives.find_or_create(self.deps.db, whole, provider, "user", [], self.clock.now)

    async def row(self, life: Life) -> Life:
        async with self.deps.db.reading() as tx:
            found = await lives.get_life(tx, life.id)
        assert found is not None
        return found

    async def set_life(self, life: Life, **values: Any) -> None:
        async with self.deps.db.transaction() as tx:
            row = await lives.lock_life(tx, life.id)
            assert row is not None
            await lives.compare_and_set(tx, row, self.clock.now, **values)

    async def credential(self, life: Life) -> Credential:
        found = await self.all(Credential, life_id=life.id, role="current")
        assert len(found) == 1
        return found[0]

    async def secrets(self, life: Life) -> credentials.Secrets:
        return await credentials.open_secrets(self.deps.sealer, life, await self.credential(life))

    async def ledger(self, life: Life, kind: str = "refresh") -> list[TokenAttempt]:
        return sorted(await self.all(TokenAttempt, life_id=life.id, kind=kind), key=lambda a: a.generation)

    async def outcomes(self, life: Life, kind: str = "refresh") -> list[str | None]:
        return [attempt.outcome for attempt in await self.ledger(life, kind)]

    async def events(self, life: Life) -> list[str]:
        """Their names, in order."""
        found = sorted(await self.all(Event, life_id=life.id), key=lambda e: e.sequence)
        return [event.type.partition(".")[2] for event in found]

    async def session(self, session_id: str) -> AuthSession:
        async with self.deps.db.reading() as tx:
            found = await sessions.get_session(tx, session_id)
        assert found is not None
        return found

    async def config(self, provider: str = "jira") -> ProviderConfig:
        (found,) = await self.all(ProviderConfig, id=self.configs[provider].id)
        return found

    async def grants(self) -> list[AccountGrant]:
        return await self.all(AccountGrant)

    async def tombstone(self, life: Life) -> Tombstone:
        (found,) = await self.all(Tombstone, life_id=life.id)
        return found

    async def visits(self, session: AuthSession) -> list[Visit]:
        return await self.all(Visit, session_id=session.id)

    async def candidates(self, session: AuthSession) -> list[Credential]:
        return await self.all(Credential, session_id=session.id, role="candidate")

    async def credentials(self, life: Life) -> list[Credential]:
        return await self.all(Credential, life_id=life.id)

    async def all(self, table: Any, **equal: Any) -> list[Any]:
        query = select(table).where(*(col(getattr(table, name)) == value for name, value in equal.items()))
        async with self.deps.db.reading() as tx:
            return list((await tx.exec(query)).all())

    async def end_pause(self, provider: str = "jira") -> None:
        """Let the time pass until a held config may be tried again."""
        self.clock.now = (await self.config(provider)).held_until

    # --- steps ------------------------------------------------------------------------------------------------------

    async def open_session(self, life: Life, **changes: Any) -> AuthSession:
        config = self.configs[life.provider_id]
        scopes = ["read:jira-user", "read:jira-work", "offline_access"] if life.provider_id != "plain" else ["read"]
        session = AuthSession(
            **{
                "id": new_id("sess"),
                "workspace_id": "default",
                "life_id": life.id,
                "kind": life.kind,
                "provider_id": life.provider_id,
                "provider_config_id": config.id,
                "tenant_id": life.tenant_id,
                "state": AttemptState.PENDING,
                "redirect_url": "http://127.0.0.1:5000/done",
                "oauth_redirect_url": CALLBACK,
                "scopes": scopes,
                "opened_by": "secret",
                "created_at": self.clock.now,
                "expires_at": self.clock.now + timedelta(minutes=15),
                **changes,
            }
        )
        async with self.deps.db.transaction() as tx:
            tx.add(session)
        return session

    async def visit(self, session: AuthSession) -> Visit:
        """A browser has opened the link."""
        visit_id = new_id("visit")
        sealed = await self.deps.sealer.seal(visit_owner(session, visit_id), VERIFIER, 1, VERIFIER_TEXT)
        visit = Visit(
            id=visit_id,
            session_id=session.id,
            state_hash=visit_id,
            cookie_hash="",
            sealed_verifier=sealed,
            created_at=self.clock.now,
        )
        async with self.deps.db.transaction() as tx:
            assert await sessions.add_visit(tx, visit, self.clock.now)
        return visit

    async def consent(self, session: AuthSession, person: str, sites: Sequence[str]) -> str:
        """A person signs in at the provider and agrees; answers the code."""
        config = self.configs[session.provider_id]
        url = consent_url(
            self.deps.catalog[session.provider_id],
            client_id=config.client_id,
            redirect_uri=session.oauth_redirect_url,
            scopes=session.scopes or (),
            state="state",
            challenge=code_challenge(VERIFIER_TEXT),
        )
        page = await self.admin.get(url)
        request = re.search(r'name="request" value="([^"]+)"', page.text)
        assert request, page.text
        sites = () if session.provider_id == "plain" else sites
        form = {"request": html.unescape(request[1]), "person": person, "site": list(sites), "decision": "allow"}
        answer = await self.admin.post(url.partition("?")[0], data=form)
        assert answer.status_code == 303, answer.text
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query))["code"]

    async def come_back(
        self, life: Life, person: str = "admin", sites: Sequence[str] = (ENGINEERING,), **changes: Any
    ) -> AuthSession:
        """An attempt whose browser has come back with a code."""
        session = await self.open_session(life, **changes)
        visit = await self.visit(session)
        code = await self.consent(session, person, sites)
        await self.consume(session, visit, code)
        return await self.session(session.id)

    async def consume(self, session: AuthSession, visit: Visit, code: str, at: datetime | None = None) -> None:
        """What the callback does with a code."""
        sealed = await self.deps.sealer.seal(session_owner(session), CODE, 1, code)
        async with self.deps.db.transaction() as tx:
            assert await sessions.consume(tx, visit, sealed, at or self.clock.now)

    async def advance(self, life: Life, session: AuthSession, deps: Deps | None = None) -> AttemptResult:
        return await advance_attempt(deps or self.deps, AttemptOrder(ids_of(life), session.id))

    async def close(self, life: Life, session: AuthSession, deps: Deps | None = None) -> AttemptResult:
        return await close_attempt(deps or self.deps, AttemptOrder(ids_of(life), session.id))

    async def connect(self, life: Life, person: str = "admin", sites: Sequence[str] = (ENGINEERING,)) -> Life:
        """Take a life from consent to active."""
        result = await self.advance(life, await self.come_back(life, person, sites))
        assert result.state is AttemptState.COMPLETED, result
        return await self.row(life)

    async def connected(self, kind: Kind = Kind.INSTALLATION, provider: str = "jira", **key: Any) -> Life:
        return await self.connect(await self.life(kind, provider, **key))

    async def refresh(self, life: Life, deps: Deps | None = None) -> RefreshResult:
        """Refresh the generation that stands in the row now."""
        row = await self.row(life)
        return await refresh(deps or self.deps, RefreshOrder(ids_of(life), row.generation))

    async def entomb(self, life: Life) -> list[Life]:
        return await deletions.entomb(self.deps.db, life.id, self.clock.now)

    # --- variations -------------------------------------------------------------------------------------------------

    def interposed(self, *script: Any) -> Deps:
        """These dependencies, with a database that follows the script."""
        return replace(self.deps, db=Interposed(self.deps.db, list(script)))

    def with_provider(self, provider_id: str = "jira", **changes: Any) -> Deps:
        """These dependencies, with one provider declared otherwise."""
        known = self.deps.catalog
        return replace(self.deps, catalog=Catalog({**known, provider_id: replace(known[provider_id], **changes)}))

    def before_sending(self, path: str, step: Callable[[], Awaitable[Any]]) -> None:
        """Do something once, after the intent is committed and before the request goes out."""

        async def on_send(asked: str) -> None:
            if asked == path:
                self.wire.on_send = None
                await step()

        self.wire.on_send = on_send


def as_read(found: reading.Found) -> Reading:
    """What a read of that row decides on."""
    status = Status(found.status)
    times = (found.issued_at, found.expires_at)
    return Reading(status, *times, found.refreshable, refused_at=found.refused_at, failing=found.last_error)


def known_providers() -> Catalog:
    """The catalog with the simulator's plain server beside it, and every address the simulator's."""
    return load_catalog(EXAMPLES, allow_loopback_http=True, origins={"jira": ORIGIN})


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return known_providers()


@asynccontextmanager
async def staged(db: Database, sealer: Sealer, clock: Any, catalog: Catalog) -> AsyncIterator[Stage]:
    """Jira with its replay window, and a plain server without one; an app registered at both."""
    app = the_simulator(lambda: clock.now.timestamp())
    wire = Client(app)
    made = {}
    for provider_id in ("jira", "plain"):
        new = NewConfig(provider_id, "authpipe-dev", SECRET, CALLBACK, "user")
        made[provider_id] = await configs.create(db, sealer, "default", new, clock.now)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as admin:
        yield Stage(Deps(db, sealer, catalog, ProviderHttp(wire), clock, Limits()), clock, admin, wire, made)


@pytest.fixture
async def stage(db: Database, sealer: Sealer, clock: Any, catalog: Catalog) -> AsyncIterator[Stage]:
    """What every test of an activity stands on."""
    async with staged(db, sealer, clock, catalog) as built:
        yield built


@pytest.fixture
def together() -> Callable[..., Awaitable[list[Any]]]:
    """Run several at once; an error of one is the test's."""

    async def gather(*steps: Awaitable[Any]) -> list[Any]:
        return list(await asyncio.gather(*steps))

    return gather
