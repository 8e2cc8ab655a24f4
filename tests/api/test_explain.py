"""What happened to a life, what is next and what to do: told to its builder, and without a secret."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from api import explain
from domain.headline import CONNECT_AGAIN, IN_PERSON, NOTHING, THE_APP
from domain.holds import HoldKind
from domain.life import Kind, Status
from vault import ledger
from vault.credentials import mark_refused
from vault.database import Database
from vault.events import append_config_event, append_event
from vault.tables import Life, ProviderConfig, TokenAttempt, Tombstone
from workflows.messages import LifeView

WELL = "It works: it is served until 2026-03-01 13:00:00 UTC. Next: refresh at 2026-03-01 12:48:00 UTC."


@pytest.fixture
def record(db: Database, clock: Any) -> Any:
    """`await record(life, "refreshed", …)` a minute after what was recorded before."""

    async def write(life: Life, name: str, **data: Any) -> None:
        async with db.transaction() as tx:
            await append_event(tx, life, name, clock.advance(minutes=1), **data)

    return write


async def test_a_connection_that_was_never_refreshed_is_explained(
    client: httpx.AsyncClient, new_life: Any, record: Any
) -> None:
    life = await new_life()
    await record(life, "created", session="ses_1")
    await record(life, "activated", old="pending", new="active", session="ses_1")
    answer = await client.get(f"/api/connections/{life.id}/explain")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "id": life.id,
            "headline": WELL,
            "what_to_do": NOTHING,
            "status": "active",
            "health": "ok",
            "next": {"what": "refresh", "at": "2026-03-01T12:48:00Z"},
            "story": [
                {"at": "2026-03-01T12:01:00Z", "what": "Connected for the first time.", "by": "user", "times": 1},
                {"at": "2026-03-01T12:02:00Z", "what": "A consent brought a credential.", "by": "user", "times": 1},
            ],
            "left_out": 0,
        },
    )


async def test_a_token_that_the_api_refused_is_not_said_to_be_served(
    client: httpx.AsyncClient, new_life: Any, db: Database, now: Any
) -> None:
    life = await new_life(failures=2, last_error="server_error")
    async with db.transaction() as tx:
        await mark_refused(tx, life.id, life.generation, now)
    head = (await client.get(f"/api/connections/{life.id}/explain")).json()["headline"]
    assert "its token is not served, since the provider refused it" in head
    assert "served until" not in head


async def test_a_running_workflow_says_what_is_next(
    client: httpx.AsyncClient, new_life: Any, lives: Any, clock: Any
) -> None:
    life = await new_life()
    lives.views[life.id] = LifeView(
        status="active", health="degraded", generation=1, expires_at=life.expires_at, next_step="probe",
        next_at=clock.advance(minutes=7), failures=2, last_error="server_error",
    )  # fmt: skip
    body = (await client.get(f"/api/connections/{life.id}/explain")).json()
    assert body["next"] == {"what": "ask the provider whether the credential works", "at": "2026-03-01T12:07:00Z"}
    assert body["headline"].startswith("Refreshing failed 2 times in a row: the provider stumbled (server_error);")
    assert body["health"] == "degraded"


async def test_the_earlier_of_what_the_row_has_planned_is_next(
    client: httpx.AsyncClient, new_life: Any, clock: Any
) -> None:
    life = await new_life(probe_at=clock() + timedelta(minutes=5))
    body = (await client.get(f"/api/connections/{life.id}/explain")).json()
    assert body["next"]["at"] == "2026-03-01T12:05:00Z"


async def test_a_dead_one_says_why_and_what_to_do(
    client: httpx.AsyncClient, new_life: Any, record: Any, db: Any
) -> None:
    life = await new_life(status=Status.NEEDS_REAUTH, reason="grant_revoked", next_due_at=None)
    for generation in range(2, 16):
        await record(life, "refreshed", generation=generation)
    async with db.transaction() as tx:
        tx.add(
            TokenAttempt(
                id="try_1",
                life_id=life.id,
                kind=ledger.REFRESH,
                generation=16,
                fingerprint="canary-fingerprint",
                started_at=life.created_at + timedelta(minutes=15),
                lease_until=life.created_at + timedelta(minutes=16),
                answered_at=life.created_at + timedelta(minutes=15),
                outcome=ledger.REFUSED,
                error_code="grant_revoked",
            )
        )
    await record(life, "needs_reauth", reason="grant_revoked")
    answer = await client.get(f"/api/connections/{life.id}/explain")
    body = answer.json()
    assert "canary" not in answer.text
    assert (body["what_to_do"], body["status"], "next" in body) == (CONNECT_AGAIN, "needs_reauth", False)
    assert [(entry["by"], entry.get("code"), entry["times"]) for entry in body["story"]] == [
        ("authpipe", None, 14),
        ("provider", "grant_revoked", 1),
        ("provider", "grant_revoked", 1),
    ]
    assert body["story"][0]["what"].startswith("Refreshed 14 times, first at ")
    assert body["story"][1]["generation"] == 16


async def test_a_config_that_is_held_is_the_operators(
    client: httpx.AsyncClient, new_life: Any, new_config: Any, db: Any, clock: Any
) -> None:
    config = await new_config()
    life = await new_life(config_id=config.id)
    async with db.transaction() as tx:
        row = await tx.get_one(ProviderConfig, config.id)
        row.hold_kind, row.held_reason = HoldKind.MISCONFIGURED.value, "client_refused"
        await append_config_event(tx, row, "misconfigured", clock(), reason="client_refused")
    body = (await client.get(f"/api/connections/{life.id}/explain")).json()
    assert body["what_to_do"] == THE_APP
    assert body["headline"].startswith("No connection is to blame: ")
    assert [entry["code"] for entry in body["story"]] == ["client_refused"]


@pytest.mark.parametrize(
    ("kind", "path", "ended"),
    [(Kind.CONNECTION, "connections", "revoked"), (Kind.INSTALLATION, "installations", "deleted")],
)
async def test_a_deleted_one_is_still_explained(
    client: httpx.AsyncClient, new_life: Any, record: Any, db: Any, kind: Kind, path: str, ended: str
) -> None:
    life = await new_life(kind)
    assert (await client.delete(f"/api/{path}/{life.id}")).status_code == 204
    body = (await client.get(f"/api/{path}/{life.id}/explain")).json()
    assert (body["status"], body["headline"]) == (
        ended,
        "It was deleted on our side and is served no more. The provider has not been told yet.",
    )
    async with db.transaction() as tx:
        (await tx.get_one(Tombstone, life.id)).upstream = "unsupported"
    await record(life, "deleted", upstream="unsupported")
    body = (await client.get(f"/api/{path}/{life.id}/explain")).json()
    assert (body["what_to_do"], "next" in body) == (IN_PERSON, False)
    assert body["story"][-1]["what"] == "Deleted. The provider has no way to revoke a grant for an app."


@pytest.mark.parametrize("path", ["connections", "installations"])
async def test_what_is_not_the_callers_is_not_there(client: httpx.AsyncClient, new_life: Any, path: str) -> None:
    kind, other = (
        (Kind.CONNECTION, Kind.INSTALLATION) if path == "connections" else (Kind.INSTALLATION, Kind.CONNECTION)
    )
    foreign = await new_life(kind, workspace_id="another")
    never_active = await new_life(kind, status=Status.PENDING, connected_at=None, generation=0)
    another_kind = await new_life(other)
    for life_id in (foreign.id, never_active.id, another_kind.id, "conn_unknown", "%00", "x" * 300):
        answer = await client.get(f"/api/{path}/{life_id}/explain")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), life_id


async def test_a_publishable_key_may_not_ask(client_with: Any, new_key: Any, new_life: Any) -> None:
    life = await new_life()
    page = client_with(await new_key(role="publishable"))
    assert (await page.get(f"/api/connections/{life.id}/explain")).status_code == 403


async def test_a_long_story_is_bounded_and_says_what_it_leaves_out(
    client: httpx.AsyncClient, new_life: Any, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "MOST_ENTRIES", 4)
    life = await new_life()
    for _ in range(3):
        for generation in (1, 2):
            await record(life, "refreshed", generation=generation)
        await record(life, "degraded", reason="no_answer")
    body = (await client.get(f"/api/connections/{life.id}/explain")).json()
    assert [entry["times"] for entry in body["story"]] == [2, 1, 2, 1]
    assert body["left_out"] == 3
