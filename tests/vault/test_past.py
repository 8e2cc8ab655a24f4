"""What happened to a life is read whole up to a bound, in order and without gaps, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import Kind, Status
from domain.story import TOLD
from vault import ledger
from vault.database import Database
from vault.events import append_config_event, append_event
from vault.past import Past, past_of
from vault.tables import Life, ProviderConfig, TokenAttempt


@pytest.fixture
async def life(db: Database, clock: Any) -> Life:
    now = clock()
    row = Life(
        id="conn_1",
        workspace_id="default",
        kind=Kind.CONNECTION,
        provider_id="sample",
        provider_config_id="cfg_1",
        tenant_id="acme",
        attachment="user",
        status=Status.ACTIVE,
        created_at=now,
        updated_at=now,
    )
    async with db.transaction() as tx:
        tx.add(row)
    return row


def attempt(
    life_id: str, number: int, at: Any, outcome: str | None = None, code: str = "", **more: Any
) -> TokenAttempt:
    given: dict[str, Any] = {
        "id": f"try_{life_id}_{number}",
        "life_id": life_id,
        "kind": ledger.REFRESH,
        "generation": number,
        "fingerprint": "f",
        "started_at": at,
        "lease_until": at + timedelta(seconds=30),
        "answered_at": at if outcome else None,
        "outcome": outcome,
        "error_code": code,
    }
    return TokenAttempt(**(given | more))


def app(config_id: str, now: Any) -> ProviderConfig:
    return ProviderConfig(
        id=config_id,
        workspace_id="default",
        provider_id="sample",
        client_id="c",
        secret_version=1,
        attachment="user",
        enabled=True,
        oauth_redirect_url="https://app.example.com",
        verify_user=False,
        trust_publishable_sessions=False,
        created_at=now,
        updated_at=now,
    )


async def read(db: Database, life: Life, most: int = 2000) -> Past:
    async with db.reading() as tx:
        return await past_of(tx, life, most)


async def refreshed(tx: AsyncSession, life: Life, number: int, at: Any) -> None:
    tx.add(attempt(life.id, number, at, ledger.SUCCEEDED))
    await append_event(tx, life, "refreshed", at, generation=number)


async def test_events_and_attempts_are_one_story_in_order(db: Database, life: Life, clock: Any) -> None:
    async with db.transaction() as tx:
        await append_event(tx, life, "created", clock())
        await append_event(tx, life, "activated", clock(), old="pending", new="active")
        await refreshed(tx, life, 2, clock.advance(minutes=1))
        tx.add(attempt(life.id, 3, clock.advance(minutes=1), ledger.NOT_HANDLED, "server_error"))
        await append_event(tx, life, "degraded", clock(), reason="server_error")
        tx.add(attempt(life.id, 4, clock.advance(minutes=1), code="no_answer"))
        tx.add(attempt(life.id, 5, clock.advance(minutes=1), ledger.SUCCEEDED, "no_answer"))
        await append_event(tx, life, "recovered", clock(), reason="server_error")
    past = await read(db, life)
    assert [(it.kind, it.code, it.generation) for it in past.happened] == [
        ("created", "", None),
        ("activated", "", None),
        ("refreshed", "", 2),
        ("refresh.not_handled", "server_error", 3),
        ("degraded", "server_error", None),
        ("refresh", "no_answer", 4),
        ("refresh.succeeded", "no_answer", 5),
        ("recovered", "server_error", None),
    ]
    assert past.left_out == 0
    assert {it.kind for it in past.happened} <= TOLD.keys()


async def test_what_befell_its_app_belongs_to_it_and_what_befell_others_does_not(
    db: Database, life: Life, clock: Any
) -> None:
    before = clock() - timedelta(minutes=1)
    other = Life(**life.model_dump(exclude={"id", "label"}), id="conn_2", label="other")
    async with db.transaction() as tx:
        tx.add_all([other, app("cfg_1", before), app("cfg_2", before)])
        await append_config_event(tx, app("cfg_1", before), "recovered", before, reason="client_refused")
        await append_config_event(tx, app("cfg_1", before), "misconfigured", clock(), reason="client_refused")
        await append_config_event(tx, app("cfg_2", before), "misconfigured", clock(), reason="client_refused")
        await append_event(tx, other, "refreshed", clock(), generation=2)
        tx.add(attempt("conn_2", 2, clock(), ledger.REFUSED, "grant_revoked"))
    past = await read(db, life)
    assert [(it.kind, it.code) for it in past.happened] == [("provider_config.misconfigured", "client_refused")]


async def test_of_a_long_past_the_end_is_read_without_gaps_and_the_rest_counted(
    db: Database, life: Life, clock: Any
) -> None:
    async with db.transaction() as tx:
        for number in range(30):
            tx.add(attempt(life.id, 100 + number, clock.advance(minutes=1), ledger.NOT_SENT, "unreachable"))
        for number in range(10):
            await refreshed(tx, life, number, clock.advance(minutes=1))
    for most, kept, left_out in ((2000, 40, 0), (20, 30, 10), (10, 20, 20), (5, 5, 35)):
        past = await read(db, life, most)
        assert (len(past.happened), past.left_out) == (kept, left_out), most
        assert past.happened[-1].generation == 9


async def test_a_life_without_a_past_has_none(db: Database, life: Life) -> None:
    assert await read(db, life) == Past([], 0)
