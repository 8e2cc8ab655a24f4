"""Deliveries to a real receiver on loopback that behaves as receivers do: down, slow, refusing, gone, malicious."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlmodel import col, select
from standardwebhooks import Webhook, WebhookVerificationError

from activities import outgoing as outgoing_module
from activities.deliver import AT_ONCE, deliver
from activities.deps import Deps, Limits
from activities.ending import unless
from activities.http import ProviderHttp
from activities.messages import DeliveryOrder, DeliveryReport
from activities.outgoing import Outgoing, Unanswered, UrlRefused
from domain.addresses import LOOPBACK
from domain.delivery import LONGEST_PAUSE
from domain.life import Kind
from providers.catalog import Catalog
from vault import configs, endpoints, outbox
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.events import append_config_event, append_event
from vault.lives import LifeKey, find_or_create
from vault.tables import Event, Life, Outbox, WebhookEndpoint

ORDER = DeliveryOrder("default")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What differs between the databases is in `tests/vault/test_outbox.py`."""
    return sqlite_url


@dataclass
class Call:
    """A request that arrived whole."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)

    @property
    def name(self) -> str:
        return str(self.told["type"])


@dataclass
class Receiver:
    """A builder's server. `answer` decides what a request gets: bytes, or a function that writes as it likes."""

    answer: Callable[[Call], bytes | Answer] = lambda _: OK
    calls: list[Call] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    sent: int = 0
    server: asyncio.Server | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events?key=of-the-builder"

    async def up(self, trusted: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=trusted)
        self.port = self.server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            call = await _read(reader)
            self.calls.append(call)
            answer = self.answer(call)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.at_once -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Call(head[0].split()[1], headers, body)


def status(code: int, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {code} X\r\n{lines}content-length: 0\r\n\r\n".encode()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.up()
    yield receiver
    await receiver.down()


@pytest.fixture
def deps(db: Database, sealer: Sealer, clock: Any) -> Deps:
    http = ProviderHttp.open()
    return Deps(db, sealer, Catalog({}), http, clock, Limits(), outgoing=Outgoing(LOOPBACK))


@dataclass
class Builder:
    """A workspace whose events go to the receiver."""

    deps: Deps
    clock: Any
    receiver: Receiver
    secret: str = ""

    async def listen(self, url: str = "", **more: Any) -> None:
        made = await endpoints.set_url(
            self.deps.db, self.deps.sealer, "default", url or self.receiver.url, self.clock(), **more
        )
        self.secret = made[1]

    async def life(self, user: str = "ann", kind: Kind = Kind.CONNECTION) -> Life:
        key = LifeKey("default", kind, "cfg_1", "acme", user_id="" if kind is Kind.INSTALLATION else user)
        return await find_or_create(self.deps.db, key, "jira", "user", [], self.clock())

    async def happen(self, life: Life, *names: str, **data: Any) -> None:
        for name in names:
            async with self.deps.db.transaction() as tx:
                await append_event(tx, life, name, self.clock(), **data)

    async def deliver(self, deps: Deps | None = None) -> DeliveryReport:
        async with asyncio.timeout(30):
            return await deliver(deps or self.deps, ORDER)

    async def go_on(self, until: datetime) -> int:
        """What the workflow does until then: a round, a wait; answers how many rounds."""
        rounds = 0
        while True:
            report = await self.deliver()
            rounds += 1
            if report.next_at is None or report.next_at > until:
                self.clock.now = until
                return rounds
            self.clock.now = max(self.clock.now, report.next_at)

    async def queue(self) -> list[Outbox]:
        query = select(Outbox).join(Event, col(Event.id) == Outbox.event_id).order_by(col(Event.sequence))
        async with self.deps.db.reading() as tx:
            return list((await tx.exec(query)).all())

    async def endpoint(self) -> WebhookEndpoint:
        async with self.deps.db.reading() as tx:
            found = await endpoints.find(tx, "default")
        assert found is not None
        return found


@pytest.fixture
async def builder(deps: Deps, clock: Any, receiver: Receiver) -> Builder:
    builder = Builder(deps, clock, receiver)
    await builder.listen()
    return builder


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline of an attempt, short."""
    monkeypatch.setattr(outgoing_module, "WITHIN_SECONDS", 0.2)


# --- what arrives -----------------------------------------------------------------------------------------------------


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


# --- receivers that do not take it ------------------------------------------------------------------------------------


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


# --- the round --------------------------------------------------------------------------------------------------------


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


# --- where a URL leads ------------------------------------------------------------------------------------------------


PRIVATE = [
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST:8080/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://10.0.0.1/",
    "https://192.168.0.1/",
    "https://172.16.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://100.64.0.1/",
    "https://①②⑦.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.1%2f@example.com/",
    "http://8.8.8.8/",
]


@pytest.mark.parametrize("url", PRIVATE)
async def test_a_url_into_our_own_network_is_refused_in_every_spelling(url: str) -> None:
    outgoing = Outgoing()
    with pytest.raises(UrlRefused):
        await outgoing.check(url)
    with pytest.raises(Unanswered):
        await outgoing.post(url, {}, b"")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://ann:secret@example.com/", "must not hold a user"),
        ("https://ann@example.com/", "must not hold a user"),
        ("https://@example.com/", None),
        ("https://example.com/#part", "must not hold a fragment"),
        ("https://example.com/" + "a" * 2048, "longer than 2048"),
        ("ftp://example.com/", "begin with https://"),
        ("file:///etc/passwd", "begin with https://"),
        ("gopher://example.com/", "begin with https://"),
        ("//example.com/", "begin with https://"),
        ("example.com", "begin with https://"),
        ("", "begin with https://"),
        ("https://", "begin with https://"),
        ("https:///path", "begin with https://"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "port"),
        ("https://exa\nmple.com/", "no URL"),
        ("https://example.com/\r\nx-header: 1", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://" + "a" * 70 + ".example.com/", None),
    ],
)
async def test_a_url_of_a_wrong_form_is_refused_without_being_repeated(url: str, said: str | None) -> None:
    async def public(_host: str, _port: int) -> list[str]:
        return ["8.8.8.8"]

    if said is None:
        await Outgoing(lookup=public).check(url)
        return
    with pytest.raises(UrlRefused, match=said) as caught:
        await Outgoing(lookup=public).check(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "::1"], ["fe80::1%eth0"], []], ids=str
)
async def test_every_address_of_a_name_has_to_be_public(addresses: list[str]) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return addresses

    with pytest.raises(UrlRefused):
        await Outgoing(lookup=lookup).check("https://builder.example.com/")


async def test_a_name_that_changes_its_meaning_after_it_was_set_is_not_followed(
    builder: Builder, receiver: Receiver
) -> None:
    """First public, as when the URL is set; then our own network, as when something is sent."""
    meant = iter([["8.8.8.8"], ["127.0.0.1"]])

    async def lookup(_host: str, _port: int) -> list[str]:
        return next(meant)

    rebinding = Outgoing(lookup=lookup)
    url = f"https://builder.example.com:{receiver.port}/"
    await rebinding.check(url)
    await builder.listen(url)
    await builder.happen(await builder.life(), "created")
    report = await builder.deliver(replace(builder.deps, outgoing=rebinding))
    assert (report.failed, report.last_error) == (1, "address_refused")
    assert receiver.most_at_once == 0


async def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The name is looked up once for a request; a second answer has nobody to hear it."""
    asked: list[str] = []

    async def lookup(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    outgoing = Outgoing(LOOPBACK, lookup)
    url = f"http://no-such-name.invalid:{receiver.port}/"
    assert await outgoing.post(url, {"x": "y"}, b"{}") == 204
    assert (asked, receiver.calls[0].headers["host"]) == (
        ["no-such-name.invalid"],
        f"no-such-name.invalid:{receiver.port}",
    )


async def test_a_name_with_several_addresses_is_tried_at_each(receiver: Receiver) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    assert await Outgoing(LOOPBACK, lookup).post(f"http://two.invalid:{receiver.port}/", {}, b"{}") == 204


async def test_a_private_network_is_reached_only_where_it_is_allowed(receiver: Receiver) -> None:
    await Outgoing(LOOPBACK).check(receiver.url)
    with pytest.raises(UrlRefused, match="not public"):
        await Outgoing().check(receiver.url)
    with pytest.raises(UrlRefused, match="https"):
        await Outgoing(LOOPBACK).check("http://8.8.8.8/")


async def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await Outgoing(LOOPBACK).post(receiver.url, {}, b"{}") == 204


async def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(outgoing_module, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(outgoing_module, "WITHIN_SECONDS", 0.05)
    with pytest.raises(UrlRefused, match="cannot be found"):
        await Outgoing(lookup=lookup).check("https://builder.example.com/")
    with pytest.raises(Unanswered, match="no_answer_in_time"):
        await Outgoing(lookup=lookup).post("https://builder.example.com/", {}, b"")


@asynccontextmanager
async def serving_tls(name: str, folder: Path) -> AsyncIterator[tuple[Receiver, ssl.SSLContext]]:
    """A receiver with a certificate for `name`, and a client's context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "pem").write_bytes(private + certificate)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "pem")
    receiver = Receiver()
    await receiver.up(theirs)
    yield receiver, ssl.create_default_context(cadata=certificate.decode())
    await receiver.down()


async def test_a_certificate_must_show_the_name_of_the_url(tmp_path: Path) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with serving_tls("builder.example.com", tmp_path) as (receiver, trusted):
        outgoing = Outgoing(LOOPBACK, lookup, trusted)
        assert await outgoing.post(f"https://builder.example.com:{receiver.port}/", {}, b"{}") == 204
        with pytest.raises(Unanswered, match="unreachable"):
            await outgoing.post(f"https://other.example.com:{receiver.port}/", {}, b"{}")
        with pytest.raises(Unanswered, match="unreachable"):
            await Outgoing(LOOPBACK, lookup).post(f"https://builder.example.com:{receiver.port}/", {}, b"{}")
    assert len(receiver.calls) == 1
