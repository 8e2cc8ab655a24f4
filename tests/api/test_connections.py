from typing import Any

import httpx
import pytest

from domain.life import Kind, Status
from vault import credentials
from vault.tables import Credential, Life, Tombstone
from workflows.messages import LifeView


async def test_a_connection_is_shown_as_it_was_recorded(client: httpx.AsyncClient, new_life: Any) -> None:
    life = await new_life(
        installation_id="inst_1",
        site_id="site-1",
        site_name="Acme",
        granted_scopes=["offline_access"],
        last_error="http_503",
    )
    answer = await client.get(f"/api/connections/{life.id}")
    assert answer.json() == {
        "id": life.id,
        "provider_id": "jira",
        "provider_config_id": "cfg_1",
        "tenant_id": "acme",
        "user_id": "user-1",
        "installation_id": "inst_1",
        "external_user_id": "account-1",
        "attachment": "user",
        "label": "default",
        "credential_type": "oauth_token",
        "status": "active",
        "health": "ok",
        "live": False,
        "site": {"id": "site-1", "name": "Acme"},
        "scopes": ["offline_access"],
        "missing_scopes": ["read:jira-work"],
        "token_expires_at": "2026-03-01T13:00:00Z",
        "next_refresh_at": "2026-03-01T12:48:00Z",
        "last_error": "http_503",
        "connected_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-01T12:00:00Z",
    }


async def test_a_running_workflow_has_the_word(
    client: httpx.AsyncClient, new_life: Any, lives: Any, clock: Any
) -> None:
    life = await new_life()
    lives.views[life.id] = LifeView(
        status="active",
        health="degraded",
        generation=1,
        expires_at=life.expires_at,
        next_step="refresh",
        next_at=clock.advance(minutes=7),
        last_error="http_503",
    )
    body = (await client.get(f"/api/connections/{life.id}")).json()
    assert (body["live"], body["health"], body["last_error"]) == (True, "degraded", "http_503")
    assert body["next_refresh_at"] == "2026-03-01T12:07:00Z"


@pytest.mark.parametrize("view", [LifeView(status="pending"), LifeView(status="needs_reauth", generation=1)])
async def test_a_workflow_that_has_not_caught_up_is_not_believed(
    client: httpx.AsyncClient, new_life: Any, lives: Any, view: LifeView
) -> None:
    life = await new_life(generation=2)
    lives.views[life.id] = view
    body = (await client.get(f"/api/connections/{life.id}")).json()
    assert (body["status"], body["live"]) == ("active", False)


async def test_what_the_provider_withdrew_is_shown_with_its_reason(
    client: httpx.AsyncClient, new_life: Any, now: Any
) -> None:
    life = await new_life(status=Status.NEEDS_REAUTH, reason="grant_revoked", revoked_at=now)
    body = (await client.get(f"/api/connections/{life.id}")).json()
    assert (body["status"], body["reason"], body["revoked_at"]) == (
        "needs_reauth",
        "grant_revoked",
        "2026-03-01T12:00:00Z",
    )


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_what_is_not_the_callers_connection_is_not_there(
    client: httpx.AsyncClient, new_life: Any, method: str, db: Any
) -> None:
    foreign = await new_life(workspace_id="another")
    never_active = await new_life(status=Status.PENDING, connected_at=None, generation=0)
    installation = await new_life(Kind.INSTALLATION)
    for life_id in (foreign.id, never_active.id, installation.id, "conn_unknown", "%00", "a%2Fb", "x" * 300):
        answer = await client.request(method, f"/api/connections/{life_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), life_id
    async with db.reading() as tx:
        assert [(await tx.get(Life, life.id)).deleted_at for life in (foreign, never_active, installation)] == [
            None
        ] * 3


# --- refresh now -----------------------------------------------------------------------------------------------------


async def test_refreshing_now_answers_with_the_new_expiry(
    client: httpx.AsyncClient, new_life: Any, lives: Any, refreshes: Any, clock: Any
) -> None:
    life = await new_life()
    clock.advance(minutes=10)
    answer = await client.post(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.json()) == (200, {"refreshed": True, "expires_at": "2026-03-01T13:10:00Z"})
    assert lives.asked == [(life.id, 1, int(clock().timestamp()) // 5)]


async def test_a_young_credential_is_not_refreshed(
    client: httpx.AsyncClient, new_life: Any, lives: Any, refreshes: Any, clock: Any
) -> None:
    life = await new_life()
    clock.advance(seconds=29)
    assert (await client.post(f"/api/connections/{life.id}")).json()["refreshed"] is False
    assert lives.asked == []
    clock.advance(seconds=1)
    assert (await client.post(f"/api/connections/{life.id}")).json()["refreshed"] is True


async def test_what_cannot_be_refreshed_says_so_without_asking(
    client: httpx.AsyncClient, new_life: Any, lives: Any, clock: Any, db: Any
) -> None:
    life = await new_life()
    async with db.transaction() as tx:
        (await credentials.current(tx, life.id)).sealed_refresh = None
    clock.advance(minutes=10)
    assert (await client.post(f"/api/connections/{life.id}")).json()["refreshed"] is False
    assert lives.asked == []


async def test_a_refresh_that_takes_longer_leaves_the_valid_credential(
    client: httpx.AsyncClient, new_life: Any, lives: Any, clock: Any
) -> None:
    life = await new_life()
    clock.advance(minutes=59)
    answer = await client.post(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.json()) == (200, {"refreshed": False, "expires_at": "2026-03-01T13:00:00Z"})


async def test_an_expired_credential_without_a_new_one_is_pending(
    client: httpx.AsyncClient, new_life: Any, lives: Any, clock: Any
) -> None:
    life = await new_life()
    clock.advance(hours=1)
    answer = await client.post(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "refresh_pending")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_dead_grant_is_not_refreshed(client: httpx.AsyncClient, new_life: Any, lives: Any) -> None:
    life = await new_life(status=Status.NEEDS_REAUTH, reason="grant_expired")
    answer = await client.post(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "needs_reauth")
    assert "grant_expired" in answer.json()["detail"]
    assert lives.asked == []


async def test_a_grant_that_dies_while_it_is_refreshed_is_said_to_be_dead(
    client: httpx.AsyncClient, new_life: Any, lives: Any, clock: Any, db: Any
) -> None:
    async def dies(life: Life) -> None:
        async with db.transaction() as tx:
            (await tx.get(Life, life.id)).status = Status.NEEDS_REAUTH

    lives.refreshing = dies
    life = await new_life()
    clock.advance(minutes=10)
    assert (await client.post(f"/api/connections/{life.id}")).json()["code"] == "needs_reauth"


# --- deleting --------------------------------------------------------------------------------------------------------


async def test_deleting_stops_serving_and_tells_the_workflow(
    client: httpx.AsyncClient, new_life: Any, lives: Any
) -> None:
    life = await new_life()
    answer = await client.delete(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.headers["authpipe-upstream"], answer.content) == (204, "pending", b"")
    assert lives.told == [("delete", life.id)]
    body = (await client.get(f"/api/connections/{life.id}")).json()
    assert (body["status"], body["revoked_at"], body["upstream"]) == ("revoked", "2026-03-01T12:00:00Z", "pending")
    assert not {"token_expires_at", "next_refresh_at", "reason"} & body.keys()
    assert (await client.post(f"/api/connections/{life.id}")).json()["code"] == "not_connected"


async def test_a_deletion_stands_without_temporal(
    client: httpx.AsyncClient, new_life: Any, lives: Any, db: Any
) -> None:
    life = await new_life()
    lives.away = True
    assert (await client.delete(f"/api/connections/{life.id}")).status_code == 204
    async with db.reading() as tx:
        assert (await tx.get(Tombstone, life.id)).upstream == "pending"


async def test_deleting_again_reminds_the_workflow_until_the_outcome_is_known(
    client: httpx.AsyncClient, new_life: Any, lives: Any, db: Any
) -> None:
    life = await new_life()
    for _ in range(2):
        assert (await client.delete(f"/api/connections/{life.id}")).headers["authpipe-upstream"] == "pending"
    assert lives.told == [("delete", life.id)] * 2
    async with db.transaction() as tx:
        (await tx.get(Tombstone, life.id)).upstream = "confirmed"
        await tx.delete(await credentials.current(tx, life.id))
    answer = await client.delete(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.headers["authpipe-upstream"]) == (204, "confirmed")
    assert len(lives.told) == 2
    assert (await client.get(f"/api/connections/{life.id}")).json()["upstream"] == "confirmed"


async def test_nothing_of_a_credential_is_ever_shown(client: httpx.AsyncClient, new_life: Any, db: Any) -> None:
    life = await new_life()
    async with db.transaction() as tx:
        row = await credentials.current(tx, life.id)
        row.sealed_access = row.sealed_refresh = b"canary"
        assert isinstance(row, Credential)
    shown = await client.get(f"/api/connections/{life.id}")
    found = await client.post("/api/connections/search", json={})
    assert "canary" not in shown.text + found.text
