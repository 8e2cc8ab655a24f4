"""What arrives at a receiver that takes it: whom an event names, who signed it, in which order it comes."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlmodel import select
from standardwebhooks import Webhook, WebhookVerificationError

from activities.deliver import AT_ONCE
from activities.messages import DeliveryReport
from domain.life import Kind
from tests.activities.delivery.builder import OK, Builder, Receiver
from vault import configs, endpoints, outbox
from vault.configs import NewConfig
from vault.events import append_config_event
from vault.tables import Event


async def test_an_event_arrives_with_all_that_names_its_connection(builder: Builder, receiver: Receiver) -> None:
    life = await builder.life()
    await builder.happen(life, "needs_reauth", old="active", new="needs_reauth", reason="grant_revoked")
    report = await builder.deliver()
    assert report == DeliveryReport("ready", delivered=1)
    (call,) = receiver.calls
    (row,) = await builder.queue()
    assert call.told == {
        "type": "connection.needs_reauth",
        "timestamp": builder.clock().isoformat(),
        "data": {
            "event_id": row.event_id,
            "workspace": "default",
            "connection_id": life.id,
            "provider_config_id": "cfg_1",
            "provider_id": "jira",
            "tenant_id": "acme",
            "user_id": "ann",
            "old": "active",
            "new": "needs_reauth",
            "reason": "grant_revoked",
        },
    }
    assert (call.path, call.headers["webhook-id"]) == ("/events?key=of-the-builder", row.event_id)
    assert (row.delivered_at, row.attempts, row.last_error) == (builder.clock(), 1, "")


async def test_an_event_of_an_installation_and_one_of_a_provider_config_say_so(
    builder: Builder, receiver: Receiver
) -> None:
    life = await builder.life(kind=Kind.INSTALLATION)
    await builder.happen(life, "activated", connection_id="forged")
    new = NewConfig("jira", "app", "", "https://example.com/oauth/callback", "user")
    config = await configs.create(builder.deps.db, builder.deps.sealer, "default", new, builder.clock())
    async with builder.deps.db.transaction() as tx:
        await append_config_event(tx, config, "misconfigured", builder.clock(), reason="client_refused")
    await builder.deliver()
    told = {call.name: call.told["data"] for call in receiver.calls}
    assert told["installation.activated"]["installation_id"] == life.id
    misconfigured = told["provider_config.misconfigured"]
    assert (misconfigured["provider_config_id"], misconfigured["provider_id"]) == (config.id, "jira")
    assert not {"connection_id", "installation_id", "tenant_id"} & misconfigured.keys()


async def test_the_signature_is_the_librarys_and_both_secrets_verify_during_a_rotation(
    builder: Builder, receiver: Receiver
) -> None:
    builder.clock.now = datetime.now(UTC)  # the library asks the real clock
    first, life = builder.secret, await builder.life()
    second = await endpoints.rotate(builder.deps.db, builder.deps.sealer, "default", builder.clock())
    assert second is not None
    await builder.happen(life, "created")
    await builder.deliver()
    (call,) = receiver.calls
    for secret in (first, second):
        assert Webhook(secret).verify(call.body, call.headers) == call.told
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoints.new_secret()).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(second).verify(call.body.replace(b"created", b"deleted"), call.headers)
    async with builder.deps.db.transaction() as tx:
        (await endpoints.find(tx, "default")).secret_2_retires_at = builder.clock()  # type: ignore[union-attr]
    await builder.happen(life, "activated")
    await builder.deliver()
    last = receiver.calls[-1]
    assert Webhook(second).verify(last.body, last.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(first).verify(last.body, last.headers)


async def test_events_of_a_connection_arrive_in_order_one_at_a_time(builder: Builder, receiver: Receiver) -> None:
    names = ["created", "activated", "degraded", "recovered", "deleted"]
    await builder.happen(await builder.life(), *names)
    await builder.deliver()
    assert [call.name.partition(".")[2] for call in receiver.calls] == names
    assert receiver.most_at_once == 1


async def test_many_connections_are_served_a_few_at_once(builder: Builder, receiver: Receiver) -> None:
    everybody_here = asyncio.Event()

    async def together(writer: asyncio.StreamWriter) -> None:
        if receiver.at_once >= AT_ONCE:
            everybody_here.set()
        await everybody_here.wait()
        writer.write(OK)

    receiver.answer = lambda _: together
    for n in range(2 * AT_ONCE):
        await builder.happen(await builder.life(f"user-{n}"), "created")
    assert (await builder.deliver()).delivered == 2 * AT_ONCE
    assert receiver.most_at_once == AT_ONCE


async def test_an_event_is_sent_again_on_request(builder: Builder, receiver: Receiver) -> None:
    await builder.happen(await builder.life(), "created")
    await builder.deliver()
    async with builder.deps.db.transaction() as tx:
        await outbox.replay(tx, (await tx.exec(select(Event))).one())
    await builder.deliver()
    first, second = receiver.calls
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
