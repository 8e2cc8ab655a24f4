"""The plain server tells of what was withdrawn there, signed, and never at the price of the withdrawal."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from simulator import webhooks
from simulator.world import World
from tests.applications import the_simulator
from tests.simulator.conftest import Clock, Sim

KEY = "whsec_" + base64.b64encode(b"s" * 24).decode()
URL = "http://127.0.0.1:8080/webhooks/plain"


class Receiver:
    """Notes what comes; answers what it is told to, one after the other, and then 200."""

    def __init__(self) -> None:
        self.came: list[httpx.Request] = []
        self.answers: list[int | Exception] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.came.append(request)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def world(receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(webhooks, "PAUSES", (0, 0))
    app = the_simulator(clock)
    world: World = app.state.world
    world.webhooks.transport = httpx.MockTransport(receiver)
    app.state.world = world
    world.app = app  # type: ignore[attr-defined]
    return world


@pytest.fixture
async def plain(world: Any, clock: Clock) -> AsyncIterator[Sim]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://127.0.0.1:9300") as http:
        yield Sim(http, clock, plain=True, scope="read")


async def revoke(sim: Sim) -> dict[str, Any]:
    await sim.connect()
    grants = await sim.admin("GET", "grants")
    revoked: dict[str, Any] = await sim.admin("POST", f"grants/{grants[-1]['id']}/revoke")
    return revoked


async def test_a_revocation_is_told_with_a_signature_that_the_library_accepts(
    plain: Sim, world: World, receiver: Receiver
) -> None:
    assert await plain.admin("POST", "webhooks", url=URL, signing_key=KEY) == {"url": URL}
    grant = await revoke(plain)
    await world.webhooks.settled()
    (request,) = receiver.came
    assert request.url == URL
    plain.clock.now = 0  # the library compares with the real time, so only the signature is asked of it
    headers = dict(request.headers)
    said = Webhook(KEY).verify(request.content, signed_now(headers, request.content))
    assert said == {
        "type": "grant.revoked",
        "data": {"grant": grant["id"], "client_id": "authpipe-dev", "sub": grant["account_id"]},
    }
    assert headers["webhook-timestamp"] == "1800000000"
    assert headers == {**headers, **webhooks.signed(KEY, headers["webhook-id"], 1_800_000_000, request.content)}


def signed_now(headers: dict[str, str], body: bytes) -> dict[str, str]:
    import time

    return webhooks.signed(KEY, headers["webhook-id"], int(time.time()), body)


async def test_nothing_is_sent_where_nobody_asked_for_it(plain: Sim, world: World, receiver: Receiver) -> None:
    await revoke(plain)
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    await plain.admin("DELETE", "webhooks", 204)
    await revoke(plain)
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    await plain.admin("POST", "reset", 204)
    await revoke(plain)
    await world.webhooks.settled()
    assert receiver.came == []


async def test_a_grant_ends_once_and_is_told_once(plain: Sim, world: World, receiver: Receiver) -> None:
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    grant = await revoke(plain)
    await plain.admin("POST", f"grants/{grant['id']}/revoke")
    await plain.admin("DELETE", "accounts/admin", 204)
    await world.webhooks.settled()
    assert len(receiver.came) == 1


async def test_a_removed_app_or_person_is_told_too(plain: Sim, world: World, receiver: Receiver) -> None:
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    await plain.connect("admin")
    await plain.connect("member")
    await plain.admin("DELETE", "accounts/member", 204)
    await world.webhooks.settled()
    assert len(receiver.came) == 1
    await plain.admin("DELETE", "apps/authpipe-dev", 204)
    await world.webhooks.settled()
    subjects = {json.loads(request.content)["data"]["sub"] for request in receiver.came}
    assert len(receiver.came) == len(subjects) == 2


async def test_what_the_other_server_ends_is_not_told(world: Any, clock: Clock, receiver: Receiver) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://127.0.0.1:9300") as http:
        jira = Sim(http, clock)
        await jira.admin("POST", "webhooks", url=URL, signing_key=KEY)
        await revoke(jira)
    await world.webhooks.settled()
    assert receiver.came == []


async def test_a_receiver_that_stumbles_gets_the_same_message_again(
    plain: Sim, world: World, receiver: Receiver
) -> None:
    receiver.answers = [httpx.ConnectError("away"), 503]
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    assert (await revoke(plain))["revoked"] == "revoked_by_user"
    await world.webhooks.settled()
    assert len(receiver.came) == 3
    assert len({request.headers["webhook-id"] for request in receiver.came}) == 1


async def test_what_a_receiver_refuses_is_not_sent_again(plain: Sim, world: World, receiver: Receiver) -> None:
    receiver.answers = [403]
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    await revoke(plain)
    await world.webhooks.settled()
    assert len(receiver.came) == 1


async def test_the_revocation_does_not_wait_for_the_receiver(plain: Sim, world: World) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: httpx.Request) -> httpx.Response:
        asked.set()
        await go_on.wait()
        return httpx.Response(200)

    world.webhooks.transport = httpx.MockTransport(slow)
    await plain.admin("POST", "webhooks", url=URL, signing_key=KEY)
    assert (await revoke(plain))["revoked"]
    await asyncio.wait_for(asked.wait(), 5)
    await world.webhooks.close()
    assert not go_on.is_set()


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://127.0.0.1/x", "signing_key": KEY},
        {"url": URL, "signing_key": "no base64!"},
        {"url": URL, "signing_key": "whsec_AAAA"},
        {"url": URL},
    ],
)
async def test_a_receiver_that_cannot_be_is_refused(plain: Sim, body: dict[str, Any]) -> None:
    await plain.admin("POST", "webhooks", 422, **body)


def test_the_key_is_not_shown(capsys: Callable[..., Any]) -> None:
    assert KEY not in repr(webhooks.Receiver(URL, KEY))
