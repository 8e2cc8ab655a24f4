"""A stack of real processes with settings of its own, where every life can be held at a named point."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlmodel import col, select

from runtime.demo_stack import PORTS, own_stack
from runtime.ports import free_ports
from runtime.settings import variable
from tests.end_to_end.conftest import PLAIN_FILE, Stack
from vault.database import Database
from vault.tables import AuthSession

WINDOW, NONE = "jira", "plain"


@dataclass(kw_only=True)
class HoldingStack(Stack):
    """A stack whose processes wait at a point that a file in `pauses` names; `variables` are those it runs with."""

    pauses: Path
    variables: dict[str, str]
    vault: Database

    def ask(self, point: str, life_id: str) -> None:
        """Hold whoever reaches this point with this life next."""
        (self.pauses / f"{point}@{life_id}").touch()

    def held(self, point: str, life_id: str) -> bool:
        return (self.pauses / f"{point}@{life_id}.reached").exists()

    def let_go(self, point: str, life_id: str) -> None:
        (self.pauses / f"{point}@{life_id}.reached").unlink(missing_ok=True)

    async def life_of(self, session_id: str) -> str:
        """The life an open session is for, which the API names only once the life exists for the builder."""
        async with self.vault.reading() as tx:
            query = select(AuthSession.life_id).where(col(AuthSession.id) == session_id)
            return (await tx.exec(query)).one()


@asynccontextmanager
async def holding_stack(
    folder: Path, database_url: str | None = None, **settings: object
) -> AsyncIterator[HoldingStack]:
    """`authpipe dev` in `folder`, with the plain provider and these settings; ended at the end."""
    data, providers, pauses = (folder / name for name in ("data", "providers", "pauses"))
    for made in (data, providers, pauses):
        made.mkdir()
    ports = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    (providers / "plain.toml").write_text(PLAIN_FILE.read_text().replace(":9300", f":{ports['simulator_port']}"))
    url = database_url or f"sqlite+aiosqlite:///{data}/authpipe.db"
    told = {**ports, "providers_dir": providers, "pause_dir": pauses, "database_url": url, **settings}
    variables = {variable(name): str(value) for name, value in told.items()}
    async with own_stack(data, **variables) as where:
        vault = Database.open(url, pool_size=2)
        headers = {"authorization": f"Bearer {where.secret_key}"}
        async with (
            httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api,
            httpx.AsyncClient(base_url=where.simulator, timeout=30) as simulator,
        ):
            yield HoldingStack(where, data, api, simulator, pauses=pauses, variables=variables, vault=vault)
        await vault.close()
