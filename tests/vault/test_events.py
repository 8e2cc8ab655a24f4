from typing import Any

import pytest
from sqlmodel import col, select

from domain.life import Kind
from vault import configs
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.events import append_config_event, append_event
from vault.tables import Event, Life, Outbox, WebhookEndpoint


async def events(db: Database) -> list[Event]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Event).order_by(col(Event.sequence)))).all())


async def outbox(db: Database) -> list[Outbox]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Outbox))).all())


async def endpoint(db: Database, now: Any, *, refreshed: bool = False) -> None:
    async with db.transaction() as tx:
        row = {"url": "https://example.com", "secret_version": 1, "created_at": now, "updated_at": now}
        tx.add(WebhookEndpoint(workspace_id="default", refreshed=refreshed, **row))


async def test_an_event_names_its_life_and_waits_for_delivery(db: Database, new_life: Any, now: Any) -> None:
    life = await new_life(Kind.INSTALLATION)
    await endpoint(db, now)
    async with db.transaction() as tx:
        await append_event(tx, life, "activated", now, old="pending", new="active")
    (event,), (waiting,) = await events(db), await outbox(db)
    assert (event.type, event.life_id, event.created_at) == ("installation.activated", life.id, now)
    assert event.data == {"old": "pending", "new": "active"}
    assert (waiting.event_id, waiting.workspace_id, waiting.delivered_at) == (event.id, "default", None)


async def test_events_keep_the_order_in_which_they_were_written(db: Database, life: Life, now: Any) -> None:
    for name in ("created", "activated", "refreshed"):
        async with db.transaction() as tx:
            await append_event(tx, life, name, now)
    assert [event.type for event in await events(db)] == [
        "connection.created",
        "connection.activated",
        "connection.refreshed",
    ]


async def test_what_did_not_happen_leaves_no_event(db: Database, life: Life, now: Any) -> None:
    async def fail() -> None:
        async with db.transaction() as tx:
            await append_event(tx, life, "refreshed", now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await events(db), await outbox(db)) == ([], [])


async def test_without_an_endpoint_nothing_waits(db: Database, life: Life, now: Any) -> None:
    async with db.transaction() as tx:
        await append_event(tx, life, "activated", now)
    assert len(await events(db)) == 1
    assert await outbox(db) == []


@pytest.mark.parametrize("wanted", [False, True])
async def test_a_refresh_waits_only_where_it_was_asked_for(db: Database, life: Life, now: Any, *, wanted: bool) -> None:
    await endpoint(db, now, refreshed=wanted)
    async with db.transaction() as tx:
        await append_event(tx, life, "refreshed", now)
    assert len(await outbox(db)) == int(wanted)


async def test_an_event_of_a_config_keeps_its_own_order(db: Database, sealer: Sealer, now: Any) -> None:
    new = NewConfig("jira", "app", "", "https://example.com/oauth/callback", "user")
    config = await configs.create(db, sealer, "default", new, now)
    await endpoint(db, now)
    async with db.transaction() as tx:
        await append_config_event(tx, config, "misconfigured", now, reason="client_refused")
    (event,), (waiting,) = await events(db), await outbox(db)
    assert (event.type, event.life_id, event.provider_config_id) == ("provider_config.misconfigured", "", config.id)
    assert waiting.life_id == config.id


async def test_whoever_listens_hears_of_queued_events_after_the_commit_alone(
    db: Database, life: Life, now: Any
) -> None:
    heard: list[str] = []
    db.on_events = heard.append
    async with db.transaction() as tx:
        await append_event(tx, life, "activated", now)
    assert heard == []
    await endpoint(db, now)
    async with db.transaction() as tx:
        await append_event(tx, life, "activated", now)
        assert heard == []
    assert heard == ["default"]
