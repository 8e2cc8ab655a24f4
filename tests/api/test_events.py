"""Events as they are listed, and sent again. On both databases."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.delivery import Delivery
from domain.life import Kind
from vault import endpoints, outbox
from vault.crypto import Sealer
from vault.database import Database
from vault.events import append_config_event, append_event
from vault.outbox import Claimed
from vault.tables import Life

SEARCH = "/api/events/search"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def search(client: httpx.AsyncClient) -> Any:
    async def ask(**body: Any) -> list[dict[str, Any]]:
        answer = await client.post(SEARCH, json=body)
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    return ask


@pytest.fixture
async def life(new_life: Any) -> Life:
    made: Life = await new_life(user_id="ann")
    return made


@pytest.fixture
async def endpoint(db: Database, sealer: Sealer, clock: Any) -> None:
    await endpoints.set_url(db, sealer, "default", "https://builder.example.com/", clock())


@pytest.fixture
def happen(db: Database, clock: Any) -> Any:
    async def append(life: Life, *names: str, **data: Any) -> None:
        for name in names:
            async with db.transaction() as tx:
                await append_event(tx, life, name, clock(), **data)
            clock.advance(seconds=1)

    return append


async def claim(db: Database, clock: Any) -> Claimed:
    async with db.transaction() as tx:
        (head,) = await outbox.claim(tx, "default", clock(), 1)
    return head


async def test_an_event_is_listed_with_what_it_says(search: Any, life: Life, happen: Any) -> None:
    await happen(life, "needs_reauth", old="active", new="needs_reauth", reason="grant_revoked")
    (event,) = await search()
    assert event.pop("id").startswith("evt_")
    assert event == {
        "event_type": "connection.needs_reauth",
        "created_at": "2026-03-01T12:00:00Z",
        "connection_id": life.id,
        "provider_config_id": "cfg_1",
        "data": {"old": "active", "new": "needs_reauth", "reason": "grant_revoked"},
        "delivery": "none",
        "delivery_attempts": 0,
    }


async def test_the_newest_comes_first_and_pages_hold_them_all_once(
    client: httpx.AsyncClient, life: Life, happen: Any
) -> None:
    await happen(life, *["degraded", "recovered"] * 3)
    seen, cursor = [], ""
    while True:
        page = (await client.post(SEARCH, json={"limit": 4, "cursor": cursor})).json()
        seen += [event["created_at"] for event in page["data"]]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 6


async def test_an_installation_and_a_provider_config_are_named_as_such(
    search: Any, new_life: Any, new_config: Any, happen: Any, db: Database, clock: Any
) -> None:
    installation, config = await new_life(Kind.INSTALLATION), await new_config()
    await happen(installation, "activated")
    async with db.transaction() as tx:
        await append_config_event(tx, config, "misconfigured", clock(), reason="client_refused")
    ours, theirs = await search()
    assert (theirs["installation_id"], "connection_id" in theirs) == (installation.id, False)
    assert (ours["provider_config_id"], ours["data"]) == (config.id, {"reason": "client_refused"})
    assert not {"connection_id", "installation_id"} & ours.keys()
    assert [e["id"] for e in await search(filter={"installation_id": {"eq": installation.id}})] == [theirs["id"]]
    assert await search(filter={"connection_id": {"exists": True}}) == []
    assert [e["id"] for e in await search(filter={"provider_config_id": {"eq": config.id}})] == [ours["id"]]


async def test_where_its_delivery_stands_is_told_and_searched_for(
    search: Any, life: Life, happen: Any, endpoint: None, db: Database, clock: Any
) -> None:
    async def standing() -> dict[str, str]:
        found = {event["event_type"].partition(".")[2]: event["delivery"] for event in await search()}
        for delivery in Delivery:
            listed = await search(filter={"delivery": {"eq": delivery}})
            assert {e["event_type"].partition(".")[2] for e in listed} == {n for n, d in found.items() if d == delivery}
        return found

    await happen(life, "created", "refreshed", "activated")
    assert await standing() == {"created": "pending", "refreshed": "none", "activated": "pending"}
    first = await claim(db, clock)
    async with db.transaction() as tx:
        await outbox.delivered(tx, first, clock())
    second = await claim(db, clock)
    async with db.transaction() as tx:
        await outbox.failed(tx, second, clock(), "status_500", timedelta(minutes=5), timedelta(days=5))
    failing, _, delivered = await search()
    assert (delivered["delivered_at"], delivered["delivery_attempts"]) == ("2026-03-01T12:00:03Z", 1)
    assert (failing["last_error"], failing["next_attempt_at"]) == ("status_500", "2026-03-01T12:05:03Z")
    clock.advance(days=5)
    again = await claim(db, clock)
    async with db.transaction() as tx:
        await outbox.failed(tx, again, clock(), "unreachable", timedelta(minutes=5), timedelta(days=5))
    assert await standing() == {"created": "delivered", "refreshed": "none", "activated": "dead"}


async def test_another_workspaces_events_are_not_there(
    search: Any, new_life: Any, happen: Any, stranger: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    await happen(await new_life(workspace_id="another"), "created")
    assert await search() == []
    (theirs,) = (await stranger.post(SEARCH, json={})).json()["data"]
    answer = await client.post(f"/api/events/{theirs['id']}/replay")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("ended", ["delivered", "dead", "before the endpoint"])
async def test_an_event_is_sent_again_whatever_became_of_it(
    client: httpx.AsyncClient,
    search: Any,
    life: Life,
    happen: Any,
    db: Database,
    sealer: Sealer,
    clock: Any,
    ended: str,
) -> None:
    if ended == "before the endpoint":
        await happen(life, "created")
    await endpoints.set_url(db, sealer, "default", "https://builder.example.com/", clock())
    if ended != "before the endpoint":
        await happen(life, "created")
        head = await claim(db, clock)
        async with db.transaction() as tx:
            if ended == "delivered":
                await outbox.delivered(tx, head, clock())
            else:
                await outbox.failed(tx, head, clock(), "status_500", timedelta(0), timedelta(0))
    (event,) = await search()
    assert event["delivery"] == {"before the endpoint": "none"}.get(ended, ended)
    heard: list[str] = []
    db.on_events = heard.append
    answer = await client.post(f"/api/events/{event['id']}/replay")
    assert (answer.status_code, answer.json()["delivery"], answer.json()["delivery_attempts"]) == (202, "pending", 0)
    assert heard == ["default"]
    assert (await claim(db, clock)).event.id == event["id"]


async def test_without_a_url_there_is_nowhere_to_send_it(
    client: httpx.AsyncClient, search: Any, life: Life, happen: Any
) -> None:
    await happen(life, "created")
    (event,) = await search()
    answer = await client.post(f"/api/events/{event['id']}/replay")
    assert (answer.status_code, answer.json()["code"]) == (404, "webhook_missing")
    assert (await search())[0]["delivery"] == "none"


async def test_an_event_that_is_not_there_is_not_sent(client: httpx.AsyncClient, endpoint: None) -> None:
    for event_id in ("evt_none", "a" * 65, "evt_%00"):
        answer = await client.post(f"/api/events/{event_id}/replay")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_publishable_key_sees_none(client_with: Any, new_key: Any) -> None:
    page = client_with(await new_key(role="publishable"))
    for path in (SEARCH, "/api/events/evt_1/replay"):
        answer = await page.post(path, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_an_unknown_field_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(SEARCH, json={"filter": {"life_id": {"eq": "x"}}})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_request")
