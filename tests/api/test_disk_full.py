"""The vault's disk is full, a real one: readers are served, a write is refused honestly and leaves nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import col, update

from tests.small_disk import SmallDisk, small_disk
from vault.credentials import Secrets, seal
from vault.tables import Credential, Life


@pytest.fixture
def disk(sqlite_template: Path, tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", sqlite_template) as disk:
        yield disk


@pytest.fixture
def database_url(disk: SmallDisk) -> str:
    return disk.url


async def seal_in_place(deps: Any, life: Life) -> None:
    sealed = await seal(deps.sealer, life, life.generation, Secrets("access", "refresh"))
    async with deps.db.transaction() as tx:
        values = {"key_id": sealed.key_id, "sealed_access": sealed.access, "sealed_refresh": sealed.refresh}
        await tx.exec(update(Credential).where(col(Credential.life_id) == life.id).values(**values))


async def test_a_full_disk_stops_writing_and_not_reading(
    client: httpx.AsyncClient, disk: SmallDisk, new_life: Any, deps: Any
) -> None:
    life = await new_life()
    await seal_in_place(deps, life)
    asked = {"provider": "jira", "tenant_id": life.tenant_id, "user_id": life.user_id}
    assert (await client.post("/api/credentials", json=asked)).status_code == 200
    disk.fill()
    read = await client.post("/api/credentials", json=asked)
    listed = await client.post("/api/connections/search", json={})
    written = await client.post("/api/api-keys", json={"name": "one more", "role": "secret"})
    ready = await client.get("/health/ready")
    assert (read.status_code, listed.status_code, ready.status_code) == (200, 200, 200)
    assert (written.status_code, written.json()["code"]) == (503, "database_full")
    assert written.headers["retry-after"] == "30"
    disk.free()
    assert len((await client.get("/api/api-keys")).json()) == 1
    assert (await client.post("/api/api-keys", json={"name": "one more", "role": "secret"})).is_success
