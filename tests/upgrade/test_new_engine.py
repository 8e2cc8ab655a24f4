"""A newer embedded engine begins with an empty file: `authpipe dev` makes every connection alive in it by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from runtime.demo_stack import PORTS, own_stack
from runtime.ports import free_ports
from runtime.settings import variable
from tests.end_to_end.conftest import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TENANTS = ("one", "two", "three")


@asynccontextmanager
async def dev(folder: Path, ports: dict[str, str]) -> AsyncIterator[Stack]:
    """`authpipe dev` in this folder."""
    async with own_stack(folder, **ports) as where:
        headers = {"authorization": f"Bearer {where.secret_key}"}
        async with (
            httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api,
            httpx.AsyncClient(base_url=where.simulator, timeout=30) as simulator,
        ):
            yield Stack(where, folder, api, simulator)


def of_an_older_engine(folder: Path) -> Path:
    """Rename the engine's files as if an older version had made them; answers the store's new name."""
    (store,) = folder.glob("temporal-*.db")
    older = folder / "temporal-0.9.0.db"
    for file in folder.glob(f"{store.name}*"):
        file.rename(folder / file.name.replace(store.name, older.name))
    return older


async def test_every_connection_lives_on_under_a_new_engine_and_one_line_says_so(tmp_path: Path) -> None:
    ports = {variable(name): str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    async with dev(tmp_path, ports) as stack:
        app = await stack.app("jira", token_lifetime=20)
        for tenant in TENANTS:
            await app.consent("/oauth/installs", "admin", ("Acme Engineering",), tenant_id=tenant)
        before = {tenant: (await app.read(tenant)).json()["generation"] for tenant in TENANTS}
    assert "empty file" not in (tmp_path / "dev.log").read_text()
    older = of_an_older_engine(tmp_path)
    kept = older.read_bytes()

    async with dev(tmp_path, ports) as stack:
        app = replace(app, stack=stack)

        async def refreshed() -> bool:
            reads = [await app.read(tenant) for tenant in TENANTS]
            return all(
                read.status_code == 200 and read.json()["generation"] > before[tenant]
                for tenant, read in zip(TENANTS, reads, strict=True)
            )

        await stack.until(refreshed, 60)
        grants = await app.grants()
        assert all(grant["alive"] for grant in grants)
        assert sum(grant["counters"]["reuses_outside"] for grant in grants) == 0
    said = [line for line in (tmp_path / "dev.log").read_text().splitlines() if "empty file" in line]
    assert len(said) == 1
    assert older.name in said[0]
    assert older.read_bytes() == kept, "the older one is left for whoever goes back"

    async with dev(tmp_path, ports):
        pass
    assert "empty file" not in (tmp_path / "dev.log").read_text(), "it is said once"
