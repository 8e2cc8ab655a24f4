"""The stack under test: real processes on a PostgreSQL of their own, a second worker and the provider beside them."""

import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from runtime.demo_stack import PORTS, own_stack
from runtime.keys import load_key_ring
from runtime.parts import environment
from runtime.ports import free_port, free_ports
from runtime.settings import Settings, load_settings, variable
from runtime.vault_setup import keys_of
from tests.chaos.beside import Beside, another_api, another_worker, the_provider
from tests.chaos.plan import NONE, WINDOW
from tests.crash.postgres import StoppablePostgres, own_postgres
from tests.end_to_end.conftest import PLAIN_FILE, App, Stack
from vault.crypto import Sealer
from vault.database import Database

LEASE_SECONDS = 12
TIMEOUT_SECONDS = 8
"""A killed worker is missed after ten seconds; its leases are over soon after."""
SECOND, THIRD, SECOND_API = "second worker", "third worker", "second API"


@dataclass(kw_only=True)
class Stand(Stack):
    """The running stack, what stands beside it, and the vault as this process reads and fills it."""

    settings: Settings
    variables: dict[str, str]
    postgres: StoppablePostgres
    beside: Beside
    vault: Database
    apps: dict[str, App]
    apis: list[str]
    """Where API processes listen."""

    @property
    def sealer(self) -> Sealer:
        return Sealer(keys_of(self.vault, load_key_ring(self.settings)))

    def kill(self, name: str) -> bool:
        """SIGKILL for a part, whose supervisor starts it again; False if it was down already."""
        running = self.beside.process(name) or self.process(name)
        if running is None or not running.alive:
            return False
        os.kill(running.pid, signal.SIGKILL)
        return True

    async def add_worker(self, name: str) -> None:
        """One more, until it is removed from `beside`."""
        await self.beside.add(another_worker(name, self.settings, self.variables))

    async def add_api(self, name: str) -> None:
        """One more on a port of its own, for as long as the stand."""
        part, url = another_api(name, self.settings, self.variables, free_port())
        await self.beside.add(part)
        self.apis.append(url)

    async def admin(self, method: str, path: str, **body: Any) -> Any:
        """The hand on the provider. Raises if it refuses."""
        answer = await self.simulator.request(method, f"/_admin/{path}", json=body or None)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def configure(self, app: App, **fields: Any) -> None:
        """Change an app's provider config. Raises if the API refuses."""
        answer = await self.api.patch(f"/api/provider-configs/{app.config_id}", json=fields)
        assert answer.is_success, answer.text

    @property
    def environment(self) -> dict[str, str]:
        """What a process of the product is started with here."""
        return {**os.environ, **self.variables, **environment(self.settings)}


@asynccontextmanager
async def own_stand(keep: Path | None = None, **settings: Any) -> AsyncIterator[Stand]:
    """Everything, ready, with an app and a provider config at each of the two providers; ended at the end.

    `keep`: a new folder for its files, logs among them, instead of one that goes with it.
    """
    async with own_postgres() as postgres:
        with _folder(keep) as folder:
            async with _on(folder, postgres, settings) as stand:
                yield stand


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="authpipe-chaos-") as name:
        yield Path(name)


@asynccontextmanager
async def _on(folder: Path, postgres: StoppablePostgres, more: dict[str, Any]) -> AsyncIterator[Stand]:
    data, providers = folder / "data", folder / "providers"
    data.mkdir()
    providers.mkdir()
    *stack_ports, port = free_ports(len(PORTS) + 1)
    origin = f"http://127.0.0.1:{port}"
    (providers / "plain.toml").write_text(PLAIN_FILE.read_text().replace("http://127.0.0.1:9300", origin))
    told: dict[str, Any] = {
        **dict(zip(PORTS, stack_ports, strict=True)),
        "providers_dir": str(providers),
        "provider_origins": {WINDOW: origin},
        "database_url": postgres.vault,
        "refresh_lease_seconds": LEASE_SECONDS,
        "provider_timeout_seconds": TIMEOUT_SECONDS,
        "log_level": "warning",
        **more,
    }
    variables = {variable(name): value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}
    settings = load_settings(env="development", data_dir=data, **told)
    with (folder / "beside.log").open("w") as log:
        beside = Beside(log)
        try:
            await beside.add(the_provider(origin, port))
            async with own_stack(data, **variables) as where:
                await beside.add(another_worker(SECOND, settings, variables))
                headers = {"authorization": f"Bearer {where.secret_key}"}
                async with (
                    httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api,
                    httpx.AsyncClient(base_url=origin, timeout=60) as simulator,
                ):
                    vault = Database.open(postgres.vault, pool_size=4)
                    stand = Stand(
                        replace(where, simulator=origin), data, api, simulator, settings=settings, variables=variables,
                        postgres=postgres, beside=beside, vault=vault, apps={}, apis=[where.api],
                    )  # fmt: skip
                    stand.apps = {provider: await stand.app(provider) for provider in (WINDOW, NONE)}
                    try:
                        yield stand
                    finally:
                        await vault.close()
        finally:
            await beside.stop()
