"""Receivers as they are: down, slow, refusing, gone, malicious. Nothing is lost, and nobody else waits."""

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import select

from activities import outgoing as outgoing_module
from activities.deliver import AT_ONCE
from activities.messages import DeliveryReport
from tests.activities.delivery.builder import OK, Builder, Receiver, status
from vault import outbox
from vault.tables import Event


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline of an attempt, short."""
    monkeypatch.setattr(outgoing_module, "WITHIN_SECONDS", 0.2)


async def test_a_receiver_that_is_down_for_two_days_gets_everything_in_order_when_it_is_back(
    builder: Builder, receiver: Receiver
) -> None:
    lives = [await builder.life(f"user-{n}") for n in range(12)]
    await receiver.down()
    for hour in range(48):
        await builder.happen(lives[hour % len(lives)], "degraded" if hour < 24 else "recovered", hour=hour)
        for _ in range(2):
            await builder.deliver()
            builder.clock.advance(minutes=30)
    assert (receiver.calls, {row.delivered_at for row in await builder.queue()}) == ([], {None})
    assert (await builder.endpoint()).failures > 5
    await receiver.up()
    # Whoever goes first after a pause of five minutes takes the others along.
    await builder.go_on(builder.clock() + timedelta(minutes=6))
    assert [row for row in await builder.queue() if row.delivered_at is None] == []
    hours: dict[str, list[int]] = {}
    for call in receiver.calls:
        hours.setdefault(call.told["data"]["connection_id"], []).append(call.told["data"]["hour"])
    assert sorted(hour for told in hours.values() for hour in told) == list(range(48))
    assert all(told == sorted(told) for told in hours.values())


async def test_a_receiver_that_is_down_costs_one_request_at_a_time(builder: Builder, receiver: Receiver) -> None:
    receiver.answer = lambda _: status(503)
    for n in range(100):
        await builder.happen(await builder.life(f"user-{n}"), "created")
    await builder.deliver()
    assert len(receiver.calls) <= AT_ONCE + 5
    receiver.most_at_once, before = 0, len(receiver.calls)
    rounds = await builder.go_on(builder.clock() + timedelta(minutes=60))
    assert receiver.most_at_once == 1
    # Pauses of at most five minutes, less a quarter: some 16 in an hour beside the short ones of the beginning.
    assert 12 <= len(receiver.calls) - before <= 30
    assert rounds <= 60


async def test_one_event_that_is_always_refused_holds_up_its_own_connection_alone(
    builder: Builder, receiver: Receiver
) -> None:
    poisoned, healthy = await builder.life("poison"), await builder.life("ann")
    receiver.answer = lambda call: status(500) if call.told["data"]["user_id"] == "poison" else OK
    await builder.happen(poisoned, "created", "activated")
    start = builder.clock()
    for day in range(1, 5):
        await builder.happen(healthy, "degraded")
        await builder.deliver()
        assert receiver.calls[-1].told["data"]["user_id"] != "poison" or receiver.calls[-2].name.endswith("degraded")
        await builder.go_on(start + timedelta(days=day))
    assert sum(call.told["data"]["user_id"] == "ann" for call in receiver.calls) == 4
    first, second = (await builder.queue())[:2]
    assert (first.last_error, first.dead_at, second.attempts) == ("status_500", None, 0)
    receiver.answer = lambda call: status(500) if call.name.endswith("created") else OK
    await builder.go_on(start + timedelta(days=7))
    first, second = (await builder.queue())[:2]
    assert first.dead_at is not None
    assert second.delivered_at is not None
    async with builder.deps.db.transaction() as tx:
        await outbox.replay(tx, (await tx.exec(select(Event).where(Event.id == first.event_id))).one())
    receiver.answer = lambda _: OK
    await builder.deliver()
    assert (await builder.queue())[0].delivered_at == builder.clock()


async def test_after_an_outage_of_one_connections_events_they_follow_soon_after_anothers(
    builder: Builder, receiver: Receiver
) -> None:
    """So few that the endpoint is never paused; by then each waits for hours."""
    lives = [await builder.life(user) for user in ("ann", "ben")]
    await receiver.down()
    for life in lives:
        await builder.happen(life, "degraded")
    await builder.go_on(builder.clock() + timedelta(hours=20))
    assert (await builder.endpoint()).failures == len(lives)
    await receiver.up()
    await builder.happen(await builder.life("cem"), "created")
    await builder.go_on(builder.clock() + timedelta(minutes=5))
    assert sorted(call.told["data"]["user_id"] for call in receiver.calls) == ["ann", "ben", "cem"]


@pytest.mark.parametrize(("code", "most"), [(422, 5), (500, 17)])
async def test_an_event_that_is_refused_each_time_is_not_sent_again_after_every_success(
    builder: Builder, receiver: Receiver, code: int, most: int
) -> None:
    poisoned, healthy = await builder.life("poison"), await builder.life("ann")
    receiver.answer = lambda call: status(code) if call.told["data"]["user_id"] == "poison" else OK
    await builder.happen(poisoned, "created")
    start = builder.clock()
    for minute in range(1, 61):
        await builder.happen(healthy, "degraded")
        await builder.go_on(start + timedelta(minutes=minute))
    users = [call.told["data"]["user_id"] for call in receiver.calls]
    assert users.count("ann") == 60
    assert 3 <= users.count("poison") <= most


async def test_a_receiver_that_is_gone_is_asked_once_and_loses_nothing(builder: Builder, receiver: Receiver) -> None:
    receiver.answer = lambda _: status(410)
    life = await builder.life()
    await builder.happen(life, "created", "activated")
    assert await builder.deliver() == DeliveryReport("gone", failed=1, last_error="status_410")
    builder.clock.advance(days=30)
    await builder.happen(life, "needs_reauth")
    assert await builder.deliver() == DeliveryReport("gone")
    assert len(receiver.calls) == 1
    receiver.answer = lambda _: OK
    await builder.listen()
    assert (await builder.deliver()).delivered == 3


async def test_a_redirect_is_a_failure_and_is_not_followed(builder: Builder, receiver: Receiver) -> None:
    receiver.answer = lambda _: status(307, location="/elsewhere")
    await builder.happen(await builder.life(), "created")
    report = await builder.deliver()
    assert (report.failed, report.last_error) == (1, "status_307")
    assert [call.path for call in receiver.calls] == ["/events?key=of-the-builder"]


@pytest.mark.usefixtures("hurried")
async def test_a_receiver_that_never_answers_is_left_after_a_while(builder: Builder, receiver: Receiver) -> None:
    forever = asyncio.Event()

    async def never(_: asyncio.StreamWriter) -> None:
        await forever.wait()

    receiver.answer = lambda _: never
    await builder.happen(await builder.life(), "created")
    assert (await builder.deliver()).last_error == "no_answer_in_time"
    forever.set()


@pytest.mark.usefixtures("hurried")
async def test_headers_that_trickle_are_no_answer_in_time(builder: Builder, receiver: Receiver) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x-more: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    receiver.answer = lambda _: trickle
    await builder.happen(await builder.life(), "created")
    assert (await builder.deliver()).last_error == "no_answer_in_time"


async def test_an_endless_answer_is_hung_up_on(builder: Builder, receiver: Receiver) -> None:
    hung_up = asyncio.Event()

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                receiver.sent += 65536
                await writer.drain()
        except OSError:
            hung_up.set()

    receiver.answer = lambda _: endless
    await builder.happen(await builder.life(), "created")
    assert (await builder.deliver()).delivered == 1, "the status was a receipt"
    await asyncio.wait_for(hung_up.wait(), 10)
    assert receiver.sent < 50_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60_000,
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n",
    ],
    ids=["a huge header", "countless headers", "no HTTP", "nothing", "half of it"],
)
async def test_what_is_no_answer_is_a_failure(builder: Builder, receiver: Receiver, answer: bytes) -> None:
    receiver.answer = lambda _: answer
    await builder.happen(await builder.life(), "created")
    assert (await builder.deliver()).last_error in ("answer_unreadable", "unreachable")
