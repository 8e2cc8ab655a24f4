"""What a consent brings about, and what it may not."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from vault.tables import Life


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_a_user_connects_inside_the_installation(
    client: httpx.AsyncClient, installation: str, opened: Any, browser: Any
) -> None:
    outcome = await browser.walk((await opened("sessions", user_id="ann"))["authorization_url"], person="member")
    assert outcome["status"] == "completed"
    assert outcome["connection_id"].startswith("conn_")
    assert outcome["installation_id"] == installation


@pytest.mark.parametrize(
    ("person", "sites", "reason"), [("outsider", ["Other Company"], "site_mismatch"), ("nosite", [], "site_mismatch")]
)
async def test_a_user_of_another_site_is_refused(
    installation: str, opened: Any, browser: Any, client: httpx.AsyncClient, person: str, sites: list[str], reason: str
) -> None:
    session = await opened("sessions", user_id="ann")
    outcome = await browser.walk(session["authorization_url"], person=person, sites=sites)
    assert (outcome["status"], outcome["reason"]) == ("failed", reason)
    in_full = (await client.get(f"/oauth/sessions/{session['session_id']}")).json()
    assert in_full["expected"] == "Acme Engineering"


async def test_an_account_without_a_site_is_a_clear_failure(config: Any, opened: Any, browser: Any) -> None:
    outcome = await browser.walk((await opened())["authorization_url"], person="nosite", sites=[])
    assert (outcome["status"], outcome["reason"]) == ("failed", "no_site")


async def test_a_second_install_on_the_same_site_names_the_living_one_to_the_backend_alone(
    client: httpx.AsyncClient, page: httpx.AsyncClient, installation: str, opened: Any, browser: Any
) -> None:
    session = await opened(label="again")
    outcome = await browser.walk(session["authorization_url"])
    assert (outcome["status"], outcome["reason"]) == ("failed", "already_installed")
    path = f"/oauth/sessions/{session['session_id']}"
    assert (await client.get(path)).json()["expected"] == installation
    assert installation not in (await page.get(path)).text


async def test_a_failed_attempt_leaves_the_living_credential_alone(
    client: httpx.AsyncClient, installation: str, opened: Any, browser: Any
) -> None:
    asked = {"provider": "jira", "tenant_id": "acme"}
    before = (await client.post("/api/credentials", json=asked)).json()
    for decision in ({"person": "outsider", "sites": ["Other Company"]}, {"allow": False}):
        assert (await browser.walk((await opened())["authorization_url"], **decision))["status"] == "failed"
    assert (await client.post("/api/credentials", json=asked)).json() == before


async def test_a_re_authorisation_keeps_the_id(
    client: httpx.AsyncClient, installation: str, opened: Any, browser: Any, clock: Any
) -> None:
    clock.now += timedelta(minutes=5)
    outcome = await browser.walk((await opened())["authorization_url"])
    assert (outcome["status"], outcome["installation_id"]) == ("completed", installation)


async def test_a_re_authorisation_by_another_account_is_refused_and_the_old_credential_kept(
    client: httpx.AsyncClient, page: httpx.AsyncClient, installation: str, opened: Any, browser: Any, rows: Any
) -> None:
    asked = {"provider": "jira", "tenant_id": "acme"}
    before = (await client.post("/api/credentials", json=asked)).json()
    session = await opened()
    outcome = await browser.walk(session["authorization_url"], person="member")
    assert (outcome["status"], outcome["reason"]) == ("failed", "account_mismatch")
    assert (await client.post("/api/credentials", json=asked)).json() == before
    (life,) = await rows(Life)
    path = f"/oauth/sessions/{session['session_id']}"
    assert (await client.get(path)).json()["expected"] == life.account_id
    assert life.account_id not in (await page.get(path)).text


async def test_what_was_deleted_meanwhile_is_not_brought_back(
    client: httpx.AsyncClient, installation: str, opened: Any, browser: Any
) -> None:
    callback = await browser.consent((await opened())["authorization_url"])
    assert (await client.delete(f"/api/installations/{installation}")).status_code == 204
    answer = await browser.http.get(callback)
    assert "status=failed" in answer.headers["location"]
    asked = {"provider": "jira", "tenant_id": "acme"}
    assert (await client.post("/api/credentials", json=asked)).status_code == 404


async def test_a_disabled_config_stops_new_sessions_only(
    client: httpx.AsyncClient, installation: str, config: Any, opened: Any, opening: Any, browser: Any
) -> None:
    link = (await opened("sessions", user_id="ann"))["authorization_url"]
    changed = await client.patch(f"/api/provider-configs/{config.id}", json={"enabled": False})
    assert changed.status_code == 200
    assert refused(await client.post("/oauth/installs", json=opening())) == (409, "config_disabled")
    asked = {"provider": "jira", "tenant_id": "acme"}
    assert (await client.post("/api/credentials", json=asked)).status_code == 200
    assert (await browser.walk(link, person="member"))["status"] == "completed", "it was opened before"
