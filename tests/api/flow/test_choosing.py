"""Several sites: the installer chooses, once, and nobody in the installer's place (law 9)."""

from typing import Any

import httpx
import pytest

from vault.tables import Life


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


@pytest.fixture
async def waiting(config: Any, opened: Any, browser: Any) -> dict[str, Any]:
    """A session whose consent reaches two sites."""
    session: dict[str, Any] = await opened()
    outcome = await browser.walk(session["authorization_url"], sites=["Acme Engineering", "Acme Support"])
    assert outcome["status"] == "awaiting_selection"
    assert not {"installation_id", "sites"} & outcome.keys()
    return session


@pytest.fixture
async def sites(client: httpx.AsyncClient, waiting: dict[str, Any]) -> dict[str, str]:
    outcome = (await client.get(f"/oauth/sessions/{waiting['session_id']}")).json()
    return {site["name"]: site["id"] for site in outcome["sites"]}


async def test_several_sites_wait_for_the_installer_and_the_chosen_one_is_bound(
    client: httpx.AsyncClient, waiting: dict[str, Any], sites: dict[str, str], rows: Any
) -> None:
    assert set(sites) == {"Acme Engineering", "Acme Support"}
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    answer = await client.post(path, json={"site_id": sites["Acme Support"]})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    (life,) = await rows(Life)
    assert (life.status, life.site_name) == ("active", "Acme Support")


async def test_the_browser_that_gave_the_consent_may_choose(
    browser: Any, waiting: dict[str, Any], sites: dict[str, str]
) -> None:
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    answer = await browser.http.post(path, json={"site_id": sites["Acme Support"]})
    assert answer.json()["status"] == "completed"
    assert not {"tenant_id", "user_id", "sites", "expected"} & answer.json().keys()


async def test_another_browser_may_not_choose(new_browser: Any, waiting: dict[str, Any], sites: dict[str, str]) -> None:
    other = new_browser()
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    assert refused(await other.http.post(path, json={"site_id": sites["Acme Support"]})) == (401, "unauthenticated")


async def test_a_publishable_key_may_not_choose_even_in_the_right_browser(
    browser: Any, page: httpx.AsyncClient, waiting: dict[str, Any], sites: dict[str, str]
) -> None:
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    key = {"authorization": page.headers["authorization"]}
    answer = await browser.http.post(path, json={"site_id": sites["Acme Support"]}, headers=key)
    assert refused(answer) == (403, "forbidden")


async def test_a_form_from_another_page_cannot_choose(
    browser: Any, waiting: dict[str, Any], sites: dict[str, str]
) -> None:
    """A body that a form could send without asking the browser first is not read as JSON."""
    body = f'{{"site_id": "{sites["Acme Support"]}"}}'
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    answer = await browser.http.post(path, content=body, headers={"content-type": "text/plain"})
    assert refused(answer) == (422, "bad_request")


async def test_a_site_that_was_not_listed_is_refused_and_the_choice_stays_open(
    client: httpx.AsyncClient, waiting: dict[str, Any], sites: dict[str, str]
) -> None:
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    assert refused(await client.post(path, json={"site_id": "other"})) == (422, "site_unknown")
    assert (await client.post(path, json={"site_id": sites["Acme Support"]})).json()["status"] == "completed"


async def test_a_choice_is_made_once(
    client: httpx.AsyncClient, waiting: dict[str, Any], sites: dict[str, str], engine: Any, session_row: Any
) -> None:
    engine.idle = True
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    assert (await client.post(path, json={"site_id": sites["Acme Support"]})).status_code == 200
    again = await client.post(path, json={"site_id": sites["Acme Engineering"]})
    assert refused(again) == (409, "session_not_waiting")
    assert (await session_row(waiting["session_id"])).chosen_site_id == sites["Acme Support"]


async def test_a_session_that_does_not_wait_takes_no_choice(
    client: httpx.AsyncClient, config: Any, opened: Any
) -> None:
    path = f"/oauth/sessions/{(await opened())['session_id']}/selection"
    assert refused(await client.post(path, json={"site_id": "x"})) == (409, "session_not_waiting")


async def test_the_time_to_choose_ends(
    client: httpx.AsyncClient, waiting: dict[str, Any], sites: dict[str, str], clock: Any
) -> None:
    clock.advance(hours=1)
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    answer = await client.post(path, json={"site_id": sites["Acme Support"]})
    assert refused(answer) == (409, "session_not_waiting")


async def test_a_choice_that_the_engine_did_not_hear_is_kept(
    client: httpx.AsyncClient, waiting: dict[str, Any], sites: dict[str, str], engine: Any, session_row: Any, db: Any
) -> None:
    engine.away = True
    path = f"/oauth/sessions/{waiting['session_id']}/selection"
    answer = await client.post(path, json={"site_id": sites["Acme Support"]})
    assert (answer.status_code, answer.json()["status"]) == (200, "awaiting_selection")
    engine.away = False
    row = await session_row(waiting["session_id"])
    async with db.reading() as tx:
        life = await tx.get(Life, row.life_id)
    await engine.returned(life, row.id)
    assert (await session_row(row.id)).state == "completed"
