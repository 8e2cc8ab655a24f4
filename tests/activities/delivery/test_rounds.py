"""One round of deliveries: when it ends, and what it says to the workflow."""

import asyncio
from datetime import timedelta

from activities.deliver import deliver
from activities.ending import unless
from activities.messages import DeliveryReport
from domain.delivery import LONGEST_PAUSE
from tests.activities.delivery.builder import OK, ORDER, Builder, Call, Receiver, status
from vault import endpoints


async def test_without_an_endpoint_a_round_does_nothing(builder: Builder, receiver: Receiver) -> None:
    await builder.happen(await builder.life(), "created")
    await endpoints.remove(builder.deps.db, "default")
    assert await builder.deliver() == DeliveryReport("none")
    assert receiver.calls == []


async def test_without_a_secret_that_opens_nothing_is_sent_and_a_rotation_sends_it(
    builder: Builder, receiver: Receiver
) -> None:
    """As after a restore without the key that sealed it."""
    await builder.happen(await builder.life(), "created")
    async with builder.deps.db.transaction() as tx:
        endpoint = await endpoints.find(tx, "default")
        assert endpoint is not None
        endpoint.sealed_secret_1 = (endpoint.sealed_secret_1 or b"")[:-1] + b"x"
    until = builder.clock() + LONGEST_PAUSE
    assert await builder.deliver() == DeliveryReport("paused", next_at=until, last_error="seal_broken")
    assert ((await builder.endpoint()).last_error, receiver.calls) == ("seal_broken", [])
    assert [(row.attempts, row.dead_at) for row in await builder.queue()] == [(0, None)]
    secret = await endpoints.rotate(builder.deps.db, builder.deps.sealer, "default", builder.clock())
    assert secret is not None
    assert (await builder.deliver()).delivered == 1
    assert len(receiver.calls[0].headers["webhook-signature"].split()) == 1, "the one that does not open signs nothing"
    assert (await builder.endpoint()).last_error == ""


async def test_a_round_says_when_the_next_event_is_due(builder: Builder, receiver: Receiver) -> None:
    receiver.answer = lambda _: status(500)
    await builder.happen(await builder.life(), "created", "activated")
    report = await builder.deliver()
    assert report.next_at is not None
    assert timedelta(seconds=3) < report.next_at - builder.clock() <= timedelta(seconds=5)
    assert not report.more


async def test_a_round_ends_after_half_a_minute_and_says_that_there_is_more(
    builder: Builder, receiver: Receiver
) -> None:
    def take(_: Call) -> bytes:
        builder.clock.advance(seconds=10)
        return OK

    receiver.answer = take
    await builder.happen(await builder.life(), *["degraded", "recovered"] * 4)
    report = await builder.deliver()
    assert (report.delivered, report.more) == (3, True)


async def test_a_round_is_given_up_at_once_when_the_worker_ends(builder: Builder, receiver: Receiver) -> None:
    """What was under way goes out again once its lease is over."""
    arrived, ending = asyncio.Event(), asyncio.Event()

    async def hang(_: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.sleep(20)

    async def worker_ends() -> None:
        await arrived.wait()

    receiver.answer = lambda _: hang
    await builder.happen(await builder.life(), "created")
    otherwise = DeliveryReport("ready", more=True)
    async with asyncio.timeout(10):
        assert (await unless(deliver(builder.deps, ORDER), worker_ends()) or otherwise) == otherwise
    ending.set()
    receiver.answer = lambda _: OK
    assert (await builder.deliver()).delivered == 0
    builder.clock.advance(seconds=30)
    assert (await builder.deliver()).delivered == 1


async def test_two_workers_at_once_send_each_event_once(builder: Builder, receiver: Receiver) -> None:
    for n in range(20):
        await builder.happen(await builder.life(f"user-{n}"), "created", "activated")
    reports = await asyncio.gather(builder.deliver(), builder.deliver())
    assert sum(report.delivered for report in reports) == 40
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == len(receiver.calls) == 40
