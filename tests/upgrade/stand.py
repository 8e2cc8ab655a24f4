"""Engine, provider and one API of this build, and workers of any build, each a process of its own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from sqlmodel import select
from temporalio.client import Client

from api.lives import workflow_of
from runtime.demo_stack import PORTS, DemoStack
from runtime.dev_keys import ensure_dev_keys
from runtime.parts import api_url, engine, others
from runtime.ports import free_ports
from runtime.settings import Settings, load_settings, variable
from runtime.supervisor import Part, Supervisor, leashed
from runtime.vault_setup import check_vault
from tests.end_to_end.conftest import PLAIN_FILE, Stack
from tests.upgrade.trees import ROOT
from vault.database import Database
from vault.tables import Life

WORKER = "worker"


@dataclass
class Worker:
    """A worker process. The engine knows it by its process id."""

    child: asyncio.subprocess.Process
    log: Path

    @property
    def identity(self) -> str:
        """How its identity at the engine begins."""
        return f"{self.child.pid}@"

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end; answers its exit code."""
        self.child.send_signal(number)
        return await self.child.wait()


@dataclass(kw_only=True)
class UpgradeStand(Stack):
    """What runs, and how to run more of it."""

    settings: Settings
    variables: dict[str, str]
    parts: dict[str, Part]
    supervisor: Supervisor
    client: Client
    vault: Database
    workers: list[Worker] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of the product is started with here."""
        return {**os.environ, **self.variables, **self.parts["api"].env}

    async def worker(self, tree: Path = ROOT, **own: str) -> Worker:
        """A worker of the build in `tree`, with settings of its own; it polls when this returns."""
        part = self.parts[WORKER]
        log = self.folder / f"worker-{len(self.workers)}.log"
        env = {**self.environment, **part.env, **{variable(name): value for name, value in own.items()}}
        with log.open("wb") as output:
            child = await asyncio.create_subprocess_exec(
                *leashed(part.command), cwd=tree, env=env, stdout=output, stderr=output, start_new_session=True
            )
        self.workers.append(Worker(child, log))

        async def polls() -> bool:
            assert child.returncode is None, log.read_text()[-2000:]
            return await part.ready(child.pid)

        await self.until(polls, 60)
        return self.workers[-1]

    async def lives(self) -> dict[str, Life]:
        async with self.vault.reading() as tx:
            return {life.id: life for life in (await tx.exec(select(Life))).all()}

    async def histories(self) -> dict[str, Any]:
        """The events of each life's present run, by the life's id."""
        found = {}
        for life in (await self.lives()).values():
            found[life.id] = (await self.client.get_workflow_handle(workflow_of(life)).fetch_history()).events
        return found

    async def stuck(self) -> list[str]:
        """Workflows whose task failed at least once and is tried again, or that the engine reports."""
        tasks = []
        for life in (await self.lives()).values():
            about = await self.client.get_workflow_handle(workflow_of(life)).describe()
            if about.raw_description.pending_workflow_task.attempt > 1:
                tasks.append(about.id)
        # A run that was ended and started anew keeps what was reported of it.
        query = "TemporalReportedProblems IS NOT NULL AND ExecutionStatus = 'Running'"
        reported = [found.id async for found in self.client.list_workflows(query)]
        return [*tasks, *reported]


@asynccontextmanager
async def upgrade_stand(folder: Path, database_url: str | None = None, **more: object) -> AsyncIterator[UpgradeStand]:
    """Everything but a worker, ready; all of it ended at the end, workers too."""
    data, providers = folder / "data", folder / "providers"
    for made in (data, providers):
        made.mkdir()
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    (providers / "plain.toml").write_text(PLAIN_FILE.read_text().replace(":9300", f":{ports['simulator_port']}"))
    url = database_url or f"sqlite+aiosqlite:///{data}/authpipe.db"
    told: dict[str, Any] = {**ports, "data_dir": data, "providers_dir": providers, "database_url": url, **more}
    settings = load_settings(env="development", **told)
    variables = {variable(name): str(value) for name, value in told.items()}
    with (folder / "parts.log").open("w") as log:
        supervisor = Supervisor(lambda name, line: print(name, line, file=log, flush=True), lambda: None)
        vault = Database.open(url, pool_size=4)
        workers: list[Worker] = []
        try:
            await check_vault(settings)
            keys = await ensure_dev_keys(settings)
            parts = {p.name: replace(p, env={**variables, **p.env}) for p in (engine(settings), *others(settings))}
            for name in ("temporal", "simulator", "api"):
                await supervisor.start(parts[name])
            where = DemoStack(api_url(settings), f"http://127.0.0.1:{settings.simulator_port}", "", keys.secret, True)
            headers = {"authorization": f"Bearer {keys.secret}"}
            async with (
                httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api,
                httpx.AsyncClient(base_url=where.simulator, timeout=30) as simulator,
            ):
                client = await Client.connect(f"127.0.0.1:{settings.temporal_port}")
                yield UpgradeStand(
                    where, data, api, simulator, settings=settings, variables=variables, parts=parts,
                    supervisor=supervisor, client=client, vault=vault, workers=workers,
                )  # fmt: skip
        finally:
            for worker in workers:
                if worker.child.returncode is None:
                    await worker.end(signal.SIGKILL)
            await supervisor.stop()
            await vault.close()
