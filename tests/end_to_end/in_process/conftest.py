"""API, workers, vault on SQLite and simulator, all real, in one process; which Temporal server, a test chooses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import select
from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from activities.deps import Deps, Limits
from activities.http import ProviderHttp
from activities.outgoing import Outgoing
from api.app import create_app
from api.breakers import Breakers
from api.deps import ApiDeps
from api.lives import Lives, workflow_of
from domain.addresses import LOOPBACK
from providers.catalog import load_catalog
from runtime.demo_visitor import Return, Visitor
from runtime.hints import Hints
from simulator.app import create_app as create_simulator
from simulator.settings import SimulatorSettings
from vault.api_keys import create_key, ensure_workspace
from vault.crypto import Sealer
from vault.database import Database
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.lives import get_life
from vault.tables import Life
from worker import build_workers
from workflows.life import ConnectionLife

API = "http://localhost:8080"
SIMULATOR = "http://127.0.0.1:9300"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"

Json = dict[str, Any]


@dataclass
class EngineClock:
    """The engine's own time: an activity knows it, and between activities a test sets it."""

    now: datetime
    real: bool = False

    def __call__(self) -> datetime:
        if self.real:
            return datetime.now(UTC)
        if activity.in_activity():
            self.now = max(self.now, activity.info().started_time)
        return self.now


@dataclass
class World:
    """A whole Authpipe and the provider it speaks to, on one clock."""

    client: Client
    db: Database
    clock: EngineClock
    api: httpx.AsyncClient
    simulator: httpx.AsyncClient
    transports: dict[str, httpx.AsyncBaseTransport]
    configs: dict[str, str] = field(default_factory=dict)

    async def configure(self, provider: str, attachment: str, secret: str = "authpipe-dev-secret") -> str:
        """Make a provider config for the simulator's first app."""
        body = {
            "provider_id": provider,
            "client_id": "authpipe-dev",
            "client_secret": secret,
            "oauth_redirect_url": f"{API}/oauth/callback",
            "attachment": attachment,
            "enabled": True,
        }
        answer = await self.api.post("/api/provider-configs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def open(self, path: str, config_id: str, provider: str, **whom: str) -> Json:
        body = {"provider": provider, "provider_config_id": config_id, "redirect_url": f"{API}/done", **whom}
        answer = await self.api.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def consent(
        self, opened: Json, person: str, sites: Sequence[str] = (), *, lifetime: int | None = None
    ) -> Return:
        """A person opens the link, decides, and comes back."""
        visitor = Visitor()
        await visitor.close()
        visitor.client = httpx.AsyncClient(mounts=self.transports, headers={"accept": "text/html"})
        try:
            return await visitor.walk(opened["authorization_url"], person, sites, lifetime=lifetime)
        finally:
            await visitor.close()

    async def outcome(self, opened: Json) -> Json:
        return dict((await self.api.get(f"/oauth/sessions/{opened['session_id']}")).json())

    async def life(self, life_id: str) -> Life:
        async with self.db.reading() as tx:
            row = await get_life(tx, life_id)
        assert row is not None
        return row

    async def lives(self) -> dict[str, Life]:
        async with self.db.reading() as tx:
            return {life.id: life for life in (await tx.exec(select(Life))).all()}

    async def handle(self, life_id: str) -> WorkflowHandle[ConnectionLife, None]:
        return self.client.get_workflow_handle_for(ConnectionLife.run, workflow_of(await self.life(life_id)))

    async def runs(self, life_id: str) -> list[WorkflowHistory]:
        """The histories of all runs of a life, the first one first."""
        handle = await self.handle(life_id)
        last = await handle.fetch_history()
        found, run_id = [], last.events[0].workflow_execution_started_event_attributes.first_execution_run_id
        while run_id:
            found.append(await self.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history())
            ended = found[-1].events[-1]
            run_id = ended.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return found

    async def admin(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.simulator.request(method, f"/_admin/{path}", json=body if method != "GET" else None)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def grant(self) -> Json:
        """The youngest grant at the provider."""
        return dict((await self.admin("GET", "grants"))[-1])

    async def until(self, ask: Callable[[], Awaitable[Any]], fact: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(60):
            while not fact(found := await ask()):  # noqa: ASYNC110 (another task sets no event of ours)
                await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def open_world(client: Client, database_url: str, clock: EngineClock, wrap: Any = None) -> AsyncIterator[World]:
    """`wrap` may put an ASGI application of a test's own around the simulator."""
    simulator: Any = create_simulator(SimulatorSettings(), lambda: clock().timestamp())
    if wrap:
        simulator = wrap(simulator)
    db = Database.open(database_url)
    sealer = Sealer(Keys(SqlKeyStore(db), KeyRing({"test": bytes(range(32))}, active="test"), clock))
    catalog = load_catalog(EXAMPLES, allow_loopback_http=True, origins={"jira": SIMULATOR})
    at_provider = httpx.ASGITransport(simulator)
    http = ProviderHttp(at_provider)
    outgoing = Outgoing(LOOPBACK)
    deps = Deps(db, sealer, catalog, http, clock, Limits(), outgoing=outgoing)
    lives = Lives(client)
    db.on_events = hints = Hints(client)
    api_deps = ApiDeps(db, sealer, catalog, lives, clock, True, wait=timedelta(seconds=8), trip=Breakers(client).look)
    app: FastAPI = create_app(replace(api_deps, outgoing=outgoing))
    at_api = httpx.ASGITransport(app)
    await ensure_workspace(db, "default", clock())
    key = (await create_key(db, "default", "test", "secret", clock()))[1]
    async with AsyncExitStack() as stack:
        # Closed last: activities that are under way when the workers end use both.
        stack.push_async_callback(db.close)
        stack.push_async_callback(http.close)
        stack.push_async_callback(hints.close)
        for worker in build_workers(client, deps, deps.catalog, sandbox=False):
            await stack.enter_async_context(worker)
        headers = {"authorization": f"Bearer {key}"}
        yield World(
            client,
            db,
            clock,
            await stack.enter_async_context(httpx.AsyncClient(transport=at_api, base_url=API, headers=headers)),
            await stack.enter_async_context(httpx.AsyncClient(transport=at_provider, base_url=SIMULATOR)),
            {f"all://{urlsplit(API).netloc}": at_api, f"all://{urlsplit(SIMULATOR).netloc}": at_provider},
        )


@pytest.fixture
def world_on(sqlite_url: str) -> Callable[..., Any]:
    """`async with world_on(client, clock) as world`."""

    def build(client: Client, clock: EngineClock, wrap: Any = None) -> Any:
        return open_world(client, sqlite_url, clock, wrap)

    return build


@pytest.fixture
def engine_clock() -> type[EngineClock]:
    return EngineClock
