import asyncio
from typing import Any

import httpx
import pytest

from domain.errors import Problem
from domain.life import Kind
from vault.tables import Life


async def test_an_installation_is_shown_with_its_site(client: httpx.AsyncClient, new_life: Any) -> None:
    life = await new_life(Kind.INSTALLATION, site_id="site-1", site_name="Acme", site_url="https://acme.example")
    body = (await client.get(f"/api/installations/{life.id}")).json()
    assert body["site"] == {"id": "site-1", "name": "Acme", "url": "https://acme.example"}
    assert (body["provider_installation_id"], body["installed_by"]) == ("site-1", "account-1")
    assert (body["installed_at"], body["status"]) == ("2026-03-01T12:00:00Z", "active")
    assert "missing_scopes" not in body


async def test_an_installation_without_a_site_has_an_empty_provider_id(
    client: httpx.AsyncClient, new_life: Any
) -> None:
    body = (await client.get(f"/api/installations/{(await new_life(Kind.INSTALLATION)).id}")).json()
    assert body["provider_installation_id"] == ""
    assert "site" not in body


async def test_deleting_an_installation_ends_its_connections(
    client: httpx.AsyncClient, new_life: Any, lives: Any
) -> None:
    home, other = await new_life(Kind.INSTALLATION), await new_life(Kind.INSTALLATION)
    inside = [await new_life(installation_id=home.id) for _ in range(2)]
    outside = await new_life(installation_id=other.id)
    answer = await client.delete(f"/api/installations/{home.id}")
    assert (answer.status_code, answer.headers["authpipe-upstream"]) == (204, "pending")
    assert (await client.get(f"/api/installations/{home.id}")).json()["status"] == "deleted"
    for life, status in ((inside[0], "revoked"), (inside[1], "revoked"), (outside, "active")):
        assert (await client.get(f"/api/connections/{life.id}")).json()["status"] == status
    assert sorted(lives.told) == sorted(("delete", life.id) for life in (home, *inside))


async def test_an_installation_is_refreshed_now(
    client: httpx.AsyncClient, new_life: Any, refreshes: Any, clock: Any
) -> None:
    life: Life = await new_life(Kind.INSTALLATION)
    clock.advance(minutes=10)
    assert (await client.post(f"/api/installations/{life.id}")).json()["refreshed"] is True


async def test_a_deleted_installation_is_found_by_its_own_word(client: httpx.AsyncClient, new_life: Any) -> None:
    gone, _ = await new_life(Kind.INSTALLATION), await new_life(Kind.INSTALLATION)
    await client.delete(f"/api/installations/{gone.id}")
    found = await client.post("/api/installations/search", json={"filter": {"status": {"eq": "deleted"}}})
    assert [(i["id"], i["status"], i["upstream"]) for i in found.json()["data"]] == [(gone.id, "deleted", "pending")]


async def test_a_connection_is_no_installation(client: httpx.AsyncClient, new_life: Any) -> None:
    connection = await new_life()
    assert (await client.get(f"/api/installations/{connection.id}")).status_code == 404
    assert (await client.post("/api/installations/search", json={})).json()["data"] == []


async def test_one_workflow_that_cannot_be_told_does_not_keep_the_others_from_hearing(
    client: httpx.AsyncClient, new_life: Any, lives: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await new_life(Kind.INSTALLATION)
    inside = [await new_life(installation_id=home.id) for _ in range(3)]
    told: list[str] = []

    async def delete(life: Any) -> None:
        if life.id == home.id:
            raise Problem("temporal_unavailable")
        await asyncio.sleep(0)
        told.append(life.id)

    monkeypatch.setattr(lives, "delete", delete)
    assert (await client.delete(f"/api/installations/{home.id}")).status_code == 204
    assert sorted(told) == sorted(life.id for life in inside)
