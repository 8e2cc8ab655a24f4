"""The stack that a part measures: `authpipe dev` in its own folder, a fast provider beside it, its vault in hand."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlmodel import func, select
from temporalio.client import Client, WorkflowHandle

from api.lives import Lives, workflow_of
from bench.processes import answers, cpu_seconds, family, running
from bench.seeding import PROVIDER, Tokens, sow
from domain.errors import Problem
from runtime.demo_setup import CALLBACK_PATH
from runtime.demo_stack import PORTS, DemoStack, own_stack
from runtime.keys import load_key_ring
from runtime.parts import polls
from runtime.ports import free_ports
from runtime.processes import read_record
from runtime.settings import Settings, load_settings, variable
from runtime.vault_setup import keys_of
from tests.crash.postgres import own_postgres
from vault.crypto import Sealer
from vault.database import Database
from vault.ledger import SUCCEEDED
from vault.tables import Life, TokenAttempt
from workflows.life import ConnectionLife

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
STARTS_AT_ONCE = 16
RESTART_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What the provider grants: tokens of `seconds` for the first `times` refreshes, then of `after`."""

    seconds: int
    times: int
    after: int = 30 * 86_400


@dataclass
class Stand:
    """The running stack, and the vault as this process fills and reads it."""

    where: DemoStack
    folder: Path
    settings: Settings
    db: Database
    sealer: Sealer
    client: Client
    config_id: str
    beside: Mapping[str, int]
    """Process ids of what the database and the provider run as."""

    @property
    def engine_address(self) -> str:
        return f"127.0.0.1:{self.settings.temporal_port}"

    @property
    def engine_file(self) -> Path:
        return next(self.settings.data_dir.glob("temporal-*.db"))

    def pid(self, name: str) -> int:
        """Of `temporal`, `worker` or `api`, as it runs now."""
        pid = self._running(name)
        assert pid is not None, f"{name} does not run"
        return pid

    def _running(self, name: str) -> int | None:
        record = read_record(self.settings.data_dir)
        return next((part.pid for part in record.parts if part.name == name), None) if record else None

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time that each took so far."""
        parts = {name: [self.pid(name)] for name in ("temporal", "worker")}
        return {name: cpu_seconds(pids) for name, pids in parts.items()} | {
            name: cpu_seconds(family(pid)) for name, pid in self.beside.items()
        }

    async def sow(self, count: int, tokens: Tokens, *, first: int = 0) -> list[Life]:
        return await sow(self.db, self.sealer, self.config_id, count, tokens, first=first)

    def handle(self, life: Life) -> WorkflowHandle[ConnectionLife, None]:
        """Its workflow."""
        return self.client.get_workflow_handle_for(ConnectionLife.run, workflow_of(life))

    async def times(self) -> list[datetime]:
        """When each refresh so far was committed."""
        query = select(TokenAttempt.answered_at).where(TokenAttempt.outcome == SUCCEEDED)
        async with self.db.reading() as tx:
            return sorted(at for at in await tx.exec(query) if at is not None)

    async def count(self) -> int:
        """How many refreshes were committed so far."""
        query = select(func.count()).select_from(TokenAttempt).where(TokenAttempt.outcome == SUCCEEDED)
        async with self.db.looking() as tx:
            return (await tx.exec(query)).one()

    async def refreshed(self, count: int, within: float) -> list[datetime]:
        """Wait until there were so many; answers when each was. Raises TimeoutError after so many seconds."""
        async with asyncio.timeout(within):
            while await self.count() < count:
                await asyncio.sleep(0.5)
        return await self.times()

    async def restart_worker(self) -> None:
        """End the worker; its supervisor starts another, which remembers nothing."""
        before = self.pid("worker")
        os.kill(before, signal.SIGTERM)
        async with asyncio.timeout(RESTART_SECONDS):
            while (pid := self._running("worker")) is None or pid == before or not await polls(self.client, pid):
                await asyncio.sleep(0.1)

    async def start(self, lives: Sequence[Life]) -> None:
        """As `authpipe reconcile` starts what does not run; tried again where the engine takes its time."""
        engine, left = Lives(self.client), iter(lives)

        async def one_by_one() -> None:
            for life in left:
                while not await _started(engine, life):
                    await asyncio.sleep(1)

        await asyncio.gather(*(one_by_one() for _ in range(STARTS_AT_ONCE)))


async def _started(engine: Lives, life: Life) -> bool:
    try:
        await engine.wake(life)
    except Problem:
        return False
    return True


@asynccontextmanager
async def own_stand(vault: str, lifetimes: Lifetimes, **settings: Any) -> AsyncIterator[Stand]:
    """Everything, ready; nothing of it is left at the end."""
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="authpipe-bench-")))
        data = folder / "data"
        data.mkdir()
        *ports, at_provider = free_ports(len(PORTS) + 1)
        told = dict(zip(PORTS, ports, strict=True)) | {"log_level": "warning"} | settings
        told["provider_origins"] = {PROVIDER: f"http://127.0.0.1:{at_provider}"}
        beside: dict[str, int] = {}
        if vault == POSTGRES:
            postgres = await opened.enter_async_context(own_postgres())
            told["database_url"] = postgres.vault
            beside["database"] = postgres.server.get_postmaster_info().pid
        beside["provider"] = await opened.enter_async_context(_provider(at_provider, lifetimes, folder))
        held = load_settings(env="development", data_dir=data, **told)
        variables = {variable(name): v if isinstance(v, str) else json.dumps(v) for name, v in told.items()}
        where = await opened.enter_async_context(own_stack(data, **variables))
        db = Database.open(held.database_url, pool_size=4)
        opened.push_async_callback(db.close)
        yield Stand(
            where, folder, held, db, sealer_of(held, db),
            await Client.connect(f"127.0.0.1:{held.temporal_port}"), await _config(where), beside,
        )  # fmt: skip


def sealer_of(settings: Settings, db: Database) -> Sealer:
    """What seals as the product's own processes do."""
    return Sealer(keys_of(db, load_key_ring(settings)))


@asynccontextmanager
async def _provider(port: int, lifetimes: Lifetimes, folder: Path) -> AsyncIterator[int]:
    told = (str(port), str(lifetimes.seconds), str(lifetimes.times), str(lifetimes.after))
    log = folder / "provider.log"
    async with running((sys.executable, "-m", "bench.provider", *told), log) as provider:
        await answers(f"http://127.0.0.1:{port}/", log)
        yield provider.pid


async def _config(where: DemoStack) -> str:
    """A provider config, made as a builder would."""
    body = {
        "provider_id": PROVIDER,
        "client_id": "bench",
        "client_secret": "bench-secret",
        "oauth_redirect_url": where.api.replace("127.0.0.1", "localhost") + CALLBACK_PATH,
        "attachment": "user",
        "enabled": True,
    }
    headers = {"authorization": f"Bearer {where.secret_key}"}
    async with httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api:
        answer = await api.post("/api/provider-configs", json=body)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])
