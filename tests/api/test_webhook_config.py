"""Where events go: set, seen, rotated, removed; and URLs that are not taken."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from activities.outgoing import Outgoing
from api.deps import ApiDeps
from domain.addresses import LOOPBACK
from vault import endpoints
from vault.database import Database

PATH = "/api/webhook-config"
URL = "https://builder.example.com/events?key=canary-of-the-builder"


@pytest.fixture
def addresses() -> list[str]:
    """What every name resolves to; a test may change it."""
    return ["8.8.8.8"]


@pytest.fixture
def deps(deps: ApiDeps, addresses: list[str]) -> ApiDeps:
    async def lookup(_host: str, _port: int) -> list[str]:
        return addresses

    return replace(deps, outgoing=Outgoing(lookup=lookup))


async def post(client: httpx.AsyncClient, url: str = URL, **more: Any) -> httpx.Response:
    return await client.post(PATH, json={"webhook_url": url, **more})


async def secrets(deps: ApiDeps) -> list[str]:
    async with deps.db.reading() as tx:
        found = await endpoints.find(tx, "default")
    assert found is not None
    return await endpoints.signing_secrets(deps.sealer, found, deps.clock())


async def test_setting_a_url_shows_the_secret_this_once(client: httpx.AsyncClient, deps: ApiDeps) -> None:
    answer = await post(client)
    assert (answer.status_code, answer.json()["webhook_url"]) == (201, URL)
    secret = answer.json()["secret"]
    assert await secrets(deps) == [secret]
    shown = await client.get(PATH)
    assert secret not in shown.text
    assert shown.json() == {
        "webhook_url": URL,
        "has_secret_1": True,
        "has_secret_2": False,
        "refreshed": False,
        "failures": 0,
        "created_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-01T12:00:00Z",
    }


async def test_for_a_day_after_a_rotation_both_secrets_sign(
    client: httpx.AsyncClient, deps: ApiDeps, clock: Any
) -> None:
    first = (await post(client)).json()["secret"]
    rotated = await client.post(f"{PATH}/rotate")
    assert rotated.status_code == 200
    assert await secrets(deps) == [rotated.json()["secret"], first]
    shown = (await client.get(PATH)).json()
    assert (shown["has_secret_2"], shown["secret_2_retires_at"]) == (True, "2026-03-02T12:00:00Z")
    clock.advance(days=1)
    assert (await client.get(PATH)).json()["has_secret_2"] is False
    assert await secrets(deps) == [rotated.json()["secret"]]


async def test_a_new_url_takes_the_place_of_the_old_one(client: httpx.AsyncClient, deps: ApiDeps) -> None:
    first = (await post(client, refreshed=True)).json()["secret"]
    second = (await post(client, "https://other.example.com/")).json()["secret"]
    shown = (await client.get(PATH)).json()
    assert (shown["webhook_url"], shown["refreshed"]) == ("https://other.example.com/", True)
    assert await secrets(deps) == [second, first]


async def test_what_the_receiver_did_is_shown_and_a_new_url_forgets_it(
    client: httpx.AsyncClient, deps: ApiDeps, clock: Any
) -> None:
    await post(client)
    async with deps.db.transaction() as tx:
        row = await endpoints.find(tx, "default")
        assert row is not None
        row.failures, row.last_error = 7, "status_500"
        row.paused_until, row.disabled_at = clock() + timedelta(minutes=1), clock()
    shown = (await client.get(PATH)).json()
    assert (shown["failures"], shown["last_error"]) == (7, "status_500")
    assert (shown["paused_until"], shown["disabled_at"]) == ("2026-03-01T12:01:00Z", "2026-03-01T12:00:00Z")
    await post(client)
    shown = (await client.get(PATH)).json()
    assert not {"paused_until", "disabled_at", "last_error"} & shown.keys()


async def test_setting_a_url_tells_whoever_delivers(client: httpx.AsyncClient, db: Database) -> None:
    heard: list[str] = []
    db.on_events = heard.append
    await post(client)
    assert heard == ["default"]


async def test_removing_it_leaves_nothing(client: httpx.AsyncClient) -> None:
    await post(client)
    assert (await client.delete(PATH)).status_code == 204
    for answer in (await client.get(PATH), await client.post(f"{PATH}/rotate"), await client.delete(PATH)):
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_missing")


async def test_a_workspace_sees_its_own_alone(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    await post(client)
    assert (await stranger.get(PATH)).status_code == 404
    assert (await stranger.delete(PATH)).status_code == 404
    assert (await client.get(PATH)).status_code == 200


async def test_a_publishable_key_may_do_none_of_it(client_with: Any, new_key: Any) -> None:
    page = client_with(await new_key(role="publishable"))
    for answer in (
        await page.get(PATH),
        await post(page),
        await page.post(f"{PATH}/rotate"),
        await page.delete(PATH),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "url",
    [
        "http://builder.example.com/",
        "https://ann:canary-of-the-builder@builder.example.com/",
        "ftp://builder.example.com/",
        "https://builder.example.com/#fragment",
        "https://",
        "nonsense",
    ],
)
async def test_a_url_of_a_wrong_form_is_refused_by_name_and_not_repeated(client: httpx.AsyncClient, url: str) -> None:
    answer = await post(client, url)
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
    assert answer.json()["errors"][0]["location"] == "body.webhook_url"
    assert "canary" not in answer.text
    assert (await client.get(PATH)).status_code == 404


@pytest.mark.parametrize("found", [["10.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "::1"], ["::ffff:10.0.0.1"], []])
async def test_a_name_that_leads_into_a_private_network_is_refused_without_saying_where(
    client: httpx.AsyncClient, addresses: list[str], found: list[str]
) -> None:
    addresses[:] = found
    answer = await post(client)
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
    assert not any(address in answer.text for address in found)
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"webhook_url": ""},
        {"webhook_url": "https://e.com/" + "a" * 2048},
        {"webhook_url": "https://e.com/\n"},
        {"webhook_url": URL, "secret": "mine"},
        {"webhook_url": URL, "refreshed": "perhaps"},
    ],
)
async def test_a_body_of_a_wrong_form_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_request")


async def test_this_machine_is_allowed_where_the_settings_say_so(app: Any, deps: ApiDeps, client: Any) -> None:
    app.state.deps = replace(deps, outgoing=Outgoing(LOOPBACK))
    assert (await post(client, "http://127.0.0.1:9/events")).status_code == 201
    app.state.deps = replace(deps, outgoing=Outgoing())
    assert (await post(client, "http://127.0.0.1:9/events")).json()["code"] == "webhook_url_refused"


async def test_many_who_set_it_at_once_are_all_answered(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.json()["secret"] for answer in answers}) == 5
