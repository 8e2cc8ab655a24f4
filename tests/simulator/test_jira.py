"""Atlassian's API: token, scope and site are really checked."""

from typing import Any

import pytest


async def test_an_expired_token_is_refused(sim: Any) -> None:
    token = (await sim.connect())["access_token"]
    sim.clock.now += 3599
    assert (await sim.myself(token)).status_code == 200
    sim.clock.now += 1
    answer = await sim.myself(token)
    assert (answer.status_code, answer.json()) == (401, {"code": 401, "message": "Unauthorized"})


@pytest.mark.parametrize("status", [403, 404])
async def test_the_gateway_may_answer_an_expired_token_otherwise(sim: Any, status: int) -> None:
    await sim.admin("PATCH", "settings", expired_status=status)
    token = (await sim.connect())["access_token"]
    sim.clock.now += 3600
    assert (await sim.myself(token)).status_code == status
    assert (await sim.myself("never-issued")).status_code == 401


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/me", "read:me"),
        ("/ex/jira/{}/rest/api/3/myself", "read:jira-user"),
        ("/ex/jira/{}/rest/api/3/search", "read:jira-work"),
        ("/ex/jira/{}/rest/api/3/search/jql", "read:jira-work"),
    ],
)
async def test_every_call_needs_its_scope(sim: Any, path: str, scope: str) -> None:
    path = path.format(await sim.cloud_id("Acme Engineering"))
    for granted, status in ((scope, 200), ("some:other", 403)):
        token = (await sim.connect(scope=granted))["access_token"]
        assert (await sim.get(path, token)).status_code == status


async def test_a_call_without_a_token_is_refused(sim: Any) -> None:
    assert (await sim.http.get("/oauth/token/accessible-resources")).status_code == 401


async def test_the_account_is_the_same_wherever_it_is_asked_for(sim: Any) -> None:
    token = (await sim.connect(scope="read:me read:jira-user"))["access_token"]
    me, myself = (await sim.get("/me", token)).json(), (await sim.myself(token)).json()
    grant = await sim.grant()
    assert me["account_id"] == myself["accountId"] == grant["account_id"]
    assert grant["person"] == "admin"


async def test_a_site_outside_the_grant_is_not_found(sim: Any) -> None:
    token = (await sim.connect(sites=["Acme Engineering"]))["access_token"]
    assert (await sim.myself(token, "Acme Support")).status_code == 404


async def test_accessible_resources_tell_sites_and_scopes(sim: Any) -> None:
    token = (await sim.connect())["access_token"]
    (site,) = (await sim.get("/oauth/token/accessible-resources", token)).json()
    assert site["id"] == await sim.cloud_id("Acme Engineering")
    assert site["scopes"] == ["read:jira-user", "read:jira-work"]
    assert site["url"].startswith("https://")


async def test_issues_are_searched_by_get_and_post(sim: Any) -> None:
    token = (await sim.connect())["access_token"]
    path = f"/ex/jira/{await sim.cloud_id('Acme Engineering')}/rest/api/3/search/jql"
    found = (await sim.get(path, token)).json()
    headers = {"Authorization": f"Bearer {token}"}
    posted = await sim.http.post(path, json={"jql": "project = ENG"}, headers=headers)
    assert found["issues"]
    assert posted.json() == found
