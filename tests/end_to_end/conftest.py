"""One stack of real processes for all tests here: `authpipe dev` in a temporary folder, on free ports.

It shows its metrics and sends its traces, so whatever a test does is seen there too.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.demo_stack import PORTS, DemoStack, own_stack
from runtime.demo_visitor import Return, Visitor
from runtime.errors import PortTakenError
from runtime.ports import free_ports, require_free_ports
from runtime.processes import Process, read_record
from runtime.settings import variable
from tests.end_to_end.collector import Collector, collecting

PLAIN_FILE = Path(__file__).parents[2] / "docs" / "examples" / "plain.toml"
CALLBACK_PATH = "/oauth/callback"

Json = dict[str, Any]


@dataclass
class App:
    """One OAuth app at the simulator with its provider config, so that tests do not share grants."""

    stack: "Stack"
    provider: str
    config_id: str
    client_id: str
    client_secret: str

    async def consent(self, path: str, person: str, sites: tuple[str, ...] = (), **whom: str) -> tuple[Json, Return]:
        opened = await self.open(path, **whom)
        visitor = Visitor()
        try:
            return opened, await visitor.walk(opened["authorization_url"], person, sites)
        finally:
            await visitor.close()

    async def open(self, path: str, **whom: str) -> Json:
        body = {"provider": self.provider, "provider_config_id": self.config_id, "redirect_url": self.stack.callback}
        answer = await self.stack.api.post(path, json={**body, **whom})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def read(self, tenant: str, user: str | None = None, **more: Any) -> httpx.Response:
        body = {"provider": self.provider, "provider_config_id": self.config_id, "tenant_id": tenant, **more}
        if user is not None:
            body["user_id"] = user
        return await self.stack.api.post("/api/credentials", json=body)

    async def grants(self, person: str | None = None) -> list[Json]:
        params = {"client_id": self.client_id, **({"person": person} if person else {})}
        return (await self.stack.simulator.get("/_admin/grants", params=params)).json()


@dataclass
class Stack:
    """The running stack as tests use it; `variables` are those it runs with."""

    where: DemoStack
    folder: Path
    api: httpx.AsyncClient
    simulator: httpx.AsyncClient
    collector: Collector | None = None
    """What it sends traces to, where it does."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Where each process shows its metrics, by its name."""
    made: int = field(default=0)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def callback(self) -> str:
        return self.where.api.replace("127.0.0.1", "localhost") + CALLBACK_PATH

    async def app(self, provider: str = "jira", **rules: Any) -> App:
        """Register an app with rules of its own at the simulator, and its config with us."""
        self.made += 1
        client_id = f"test-{self.made}"
        secret = (await self.simulator.post("/_admin/apps", json={"client_id": client_id, **rules})).json()
        config = {
            "provider_id": provider,
            "client_id": client_id,
            "client_secret": secret["client_secret"],
            "oauth_redirect_url": self.callback,
            "attachment": "user",
            "enabled": True,
        }
        answer = await self.api.post("/api/provider-configs", json=config)
        assert answer.status_code == 201, answer.text
        return App(self, provider, answer.json()["id"], client_id, secret["client_secret"])

    async def scrape(self, process: str) -> str:
        """What Prometheus would read from a process."""
        async with httpx.AsyncClient() as client:
            return (await client.get(self.metrics[process])).text

    def process(self, name: str) -> Process | None:
        """The process that runs a part now; none between two tries."""
        record = read_record(self.folder)
        return next((part for part in record.parts if part.name == name), None) if record else None

    async def until(self, fact: Callable[[], Awaitable[Any]], seconds: float = 40) -> Any:
        """Poll for a fact; what it answers first that is true."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := await fact():
                    return found
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "the fact did not come about in time"
            await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder, providers = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("providers")
    ports = {variable(name): str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    port = ports["AUTHPIPE_SIMULATOR_PORT"]
    (providers / "plain.toml").write_text(PLAIN_FILE.read_text().replace(":9300", f":{port}"))
    first = free_pair()
    settings = ports | {
        "AUTHPIPE_PROVIDERS_DIR": str(providers),
        "AUTHPIPE_METRICS_ADDRESS": f"127.0.0.1:{first}",
        # Sent soon, and only what this stack does.
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    metrics = {name: f"http://127.0.0.1:{port}/metrics" for name, port in (("api", first), ("worker", first + 1))}
    with collecting() as collector:
        async with own_stack(folder, **settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as where:
            headers = {"authorization": f"Bearer {where.secret_key}"}
            async with (
                httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api,
                httpx.AsyncClient(base_url=where.simulator, timeout=30) as simulator,
            ):
                yield Stack(where, folder, api, simulator, collector, metrics, variables=settings)


def free_pair() -> int:
    """A port that is free together with the next one."""
    while True:
        first = free_ports(1)[0]
        with suppress(PortTakenError):
            require_free_ports({"metrics_address": first + 1})
            return first
