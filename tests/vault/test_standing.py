"""How the vault stands, counted on both databases."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, update

from domain.holds import HoldKind
from domain.life import Kind, Status
from vault.database import Database
from vault.standing import standing
from vault.tables import Event, Life, Outbox, ProviderConfig, TokenAttempt, WebhookEndpoint

MINUTE = timedelta(minutes=1)


@pytest.fixture
def row(db: Database, new_life: Any) -> Any:
    """`await row("ann", health=…)`: an active life with these columns; answers its id."""

    async def make(user: str, kind: Kind = Kind.CONNECTION, **columns: Any) -> str:
        life = await new_life(kind, user_id=user)
        async with db.transaction() as tx:
            await tx.exec(update(Life).where(col(Life.id) == life.id).values({"status": Status.ACTIVE, **columns}))
        return str(life.id)

    return make


@pytest.fixture
def add(db: Database) -> Any:
    async def store(*rows: Any) -> None:
        async with db.transaction() as tx:
            tx.add_all(rows)

    return store


def config(id_: str, now: datetime, **columns: Any) -> ProviderConfig:
    whole: dict[str, Any] = {
        "workspace_id": "default",
        "provider_id": "jira",
        "client_id": "client",
        "secret_version": 1,
        "attachment": "user",
        "enabled": True,
        "oauth_redirect_url": "http://localhost/oauth/callback",
        "verify_user": False,
        "trust_publishable_sessions": False,
        "created_at": now,
        "updated_at": now,
    }
    return ProviderConfig(id=id_, **(whole | columns))


def send(life_id: str, generation: int, now: datetime, **columns: Any) -> TokenAttempt:
    whole: dict[str, Any] = {
        "id": f"try_{life_id}_{generation}",
        "kind": "refresh",
        "fingerprint": "f",
        "started_at": now - MINUTE,
        "lease_until": now,
    }
    return TokenAttempt(life_id=life_id, generation=generation, **(whole | columns))


async def test_connections_are_counted_by_state(db: Database, row: Any, now: datetime) -> None:
    await row("a")
    await row("b")
    await row("c", health="degraded")
    await row("d", status=Status.NEEDS_REAUTH)
    await row("e", deleted_at=now, health="degraded")
    await row("f", status=Status.REVOKED, deleted_at=now)
    await row("g", status=Status.PENDING)
    await row("h", Kind.INSTALLATION)
    assert (await standing(db, now)).connections == {
        ("jira", "connection", "active"): 2,
        ("jira", "connection", "degraded"): 1,
        ("jira", "connection", "needs_reauth"): 1,
        ("jira", "connection", "deleting"): 1,
        ("jira", "installation", "active"): 1,
    }


async def test_those_are_overdue_that_the_sweep_would_wake(db: Database, row: Any, now: datetime) -> None:
    await row("late", next_due_at=now - 6 * MINUTE)
    await row("soon", next_due_at=now - 4 * MINUTE)
    await row("held", next_due_at=now - 6 * MINUTE, held_until=now + MINUTE)
    assert (await standing(db, now)).overdue == {"jira": 1}


async def test_a_send_is_in_doubt_when_its_lease_has_ended_without_an_answer(
    db: Database, row: Any, add: Any, now: datetime
) -> None:
    first, second = [await row(user, generation=1, next_generation=4) for user in ("ann", "bob")]
    await row("calm", generation=1, next_generation=2)
    await add(
        send(first, 2, now),
        send(first, 3, now),
        send(second, 2, now, outcome="refused"),
        send(second, 3, now, lease_until=now + MINUTE),
        send("another kind", 4, now, kind="exchange"),
    )
    assert (await standing(db, now)).in_doubt == {"jira": 2}


async def test_a_hold_is_counted_by_its_kind(db: Database, add: Any, now: datetime) -> None:
    await add(
        config("free", now),
        config("gone", now, hold_kind=HoldKind.OUTAGE, held_until=now, deleted_at=now),
        config("down", now, hold_kind=HoldKind.OUTAGE, held_until=now),
        config("wrong", now, hold_kind=HoldKind.MISCONFIGURED, held_until=now),
        config("of an earlier version", now, held_until=now),
    )
    assert (await standing(db, now)).held == {("jira", "outage"): 1, ("jira", "misconfigured"): 2}


async def test_the_lag_is_the_age_of_the_oldest_event_that_waits_where_somebody_listens(
    db: Database, add: Any, now: datetime
) -> None:
    for workspace, gone in (("default", None), ("deaf", now)):
        await add(
            WebhookEndpoint(
                workspace_id=workspace,
                url="https://a.example.com",
                refreshed=False,
                secret_version=1,
                disabled_at=gone,
                created_at=now,
                updated_at=now,
            )
        )
    for number, (workspace, minutes, columns) in enumerate(
        (
            ("default", 3, {}),
            ("default", 2, {}),
            ("default", 9, {"delivered_at": now}),
            ("default", 8, {"dead_at": now}),
            ("deaf", 7, {}),
            ("without a URL", 6, {}),
        )
    ):
        at, id_ = now - minutes * MINUTE, f"evt_{number}"
        await add(
            Event(id=id_, workspace_id=workspace, life_id="conn_1", type="t", created_at=at),
            Outbox(event_id=id_, workspace_id=workspace, life_id="conn_1", created_at=at, **columns),
        )
    found = await standing(db, now)
    assert (found.waiting, found.lag) == (2, 3 * MINUTE)


async def test_an_empty_vault_has_nothing_to_say(db: Database, now: datetime) -> None:
    found = await standing(db, now)
    assert (found.connections, found.overdue, found.in_doubt, found.held) == ({}, {}, {}, {})
    assert (found.waiting, found.lag) == (0, timedelta(0))
