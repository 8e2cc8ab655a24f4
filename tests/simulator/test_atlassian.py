"""Atlassian's token endpoint: exchange, rotation, replay window, one grant per account."""

from typing import Any

import pytest

INVALID = {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}


async def test_a_code_buys_an_access_token_and_a_refresh_token(sim: Any) -> None:
    answer = await sim.exchange(await sim.consent())
    tokens = answer.json()
    assert tokens["expires_in"] == 3600
    assert tokens["scope"] == sim.scope
    assert answer.headers["cache-control"] == "no-store"
    assert (await sim.myself(tokens["access_token"])).status_code == 200
    assert (await sim.refresh(tokens["refresh_token"])).status_code == 200


async def test_json_bodies_work_as_forms_do(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    body = {"grant_type": "refresh_token", "client_id": sim.client_id, "client_secret": sim.secret}
    answer = await sim.http.post("/oauth/token", json={**body, "refresh_token": token})
    assert answer.status_code == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"grant_type": 1}', b'{"a": "1", "a": "2"}', b"\xff"])
async def test_a_senseless_json_body_is_an_invalid_request(sim: Any, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await sim.http.post("/oauth/token", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_without_offline_access_there_is_no_refresh_token(sim: Any) -> None:
    assert "refresh_token" not in await sim.connect(scope="read:jira-user")


async def test_a_code_works_once_and_its_reuse_kills_what_it_gave(sim: Any) -> None:
    code = await sim.consent()
    tokens = (await sim.exchange(code)).json()
    again = await sim.exchange(code)
    assert (again.status_code, again.json()["error"]) == (403, "invalid_grant")
    assert (await sim.refresh(tokens["refresh_token"])).json() == INVALID
    assert (await sim.myself(tokens["access_token"])).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "http://localhost:5000/other"},
        {"code_verifier": "w" * 43},
        {"code_verifier": None},
    ],
)
async def test_a_code_needs_its_redirect_uri_and_its_verifier(sim: Any, changes: dict[str, Any]) -> None:
    answer = await sim.exchange(await sim.consent(), **changes)
    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_grant")


async def test_a_verifier_without_a_challenge_is_refused(sim: Any) -> None:
    code = await sim.consent(code_challenge=None, code_challenge_method=None)
    assert (await sim.exchange(code)).status_code == 403
    assert (await sim.exchange(code, code_verifier=None)).status_code == 200


async def test_a_code_expires(sim: Any) -> None:
    code = await sim.consent()
    sim.clock.now += 600
    assert (await sim.exchange(code)).status_code == 403


@pytest.mark.parametrize("changes", [{"client_secret": "wrong"}, {"client_secret": None}, {"client_id": "nobody"}])
async def test_a_wrong_client_secret_reads_access_denied(sim: Any, changes: dict[str, Any]) -> None:
    answer = await sim.refresh("whatever", **changes)
    assert (answer.status_code, answer.json()["error"]) == (401, "access_denied")


async def test_a_token_of_another_app_is_refused_and_lives_on(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    await sim.admin("POST", "apps", client_id="other", client_secret="other")
    assert (await sim.refresh(token, client_id="other", client_secret="other")).json() == INVALID
    assert (await sim.refresh(token)).status_code == 200


async def test_an_unknown_refresh_token_is_refused_by_setting(sim: Any) -> None:
    first = await sim.refresh("never-issued")
    await sim.admin("PATCH", "settings", unknown_refresh_error="invalid_grant")
    second = await sim.refresh("never-issued")
    assert first.status_code == second.status_code == 403
    assert first.json() == {"error": "unauthorized_client", "error_description": "refresh_token is invalid"}
    assert second.json() == INVALID


async def test_inside_the_replay_window_a_used_token_gives_another_valid_pair(sim: Any) -> None:
    old = (await sim.connect())["refresh_token"]
    first = (await sim.refresh(old)).json()["refresh_token"]
    sim.clock.now += 599
    second = (await sim.refresh(old)).json()["refresh_token"]
    assert first != second
    assert [(await sim.refresh(token)).status_code for token in (first, second)] == [200, 200]
    counters = (await sim.grant())["counters"]
    assert (counters["refreshes"], counters["replays_inside"], counters["reuses_outside"]) == (3, 1, 0)


async def test_outside_the_replay_window_reuse_kills_the_family(sim: Any) -> None:
    tokens = await sim.connect()
    fresh = (await sim.refresh(tokens["refresh_token"])).json()["refresh_token"]
    sim.clock.now += 600
    reuse = await sim.refresh(tokens["refresh_token"])
    assert (reuse.status_code, reuse.json()) == (403, INVALID)
    assert (await sim.refresh(fresh)).json() == INVALID
    assert (await sim.myself(tokens["access_token"])).status_code == 200
    grant = await sim.grant()
    assert not grant["alive"]
    assert grant["families"][0]["ended"] == "refresh_token_reused"


async def test_the_window_counts_from_the_first_use(sim: Any) -> None:
    old = (await sim.connect())["refresh_token"]
    await sim.refresh(old)
    sim.clock.now += 400
    assert (await sim.refresh(old)).status_code == 200
    sim.clock.now += 400
    assert (await sim.refresh(old)).status_code == 403


async def test_an_idle_refresh_token_expires_and_rotation_resets_that(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    for _ in range(2):
        sim.clock.now += 89 * 86_400
        token = (await sim.refresh(token)).json()["refresh_token"]
    sim.clock.now += 90 * 86_400
    assert not (await sim.grant())["alive"]
    assert (await sim.refresh(token)).json() == INVALID


async def test_a_family_can_have_an_absolute_end(sim: Any) -> None:
    await sim.admin("PATCH", "settings", refresh_absolute=1000)
    token = (await sim.connect())["refresh_token"]
    sim.clock.now += 999
    token = (await sim.refresh(token)).json()["refresh_token"]
    sim.clock.now += 1
    assert (await sim.refresh(token)).status_code == 403


async def test_an_account_has_one_grant_and_later_scopes_override(sim: Any) -> None:
    first = await sim.connect()
    second = await sim.connect(scope="read:jira-work offline_access")
    grant = await sim.grant()
    assert grant["scopes"] == ["read:jira-work", "offline_access"]
    refused = [(await sim.myself(tokens["access_token"])).status_code for tokens in (first, second)]
    assert refused == [403, 403]
    assert (await sim.refresh(first["refresh_token"])).json()["scope"] == "read:jira-work offline_access"


@pytest.mark.parametrize(("setting", "status"), [("keep", 200), ("kill", 403)])
async def test_a_second_consent_keeps_or_kills_the_older_family(sim: Any, setting: str, status: int) -> None:
    await sim.admin("PATCH", "settings", second_consent=setting)
    first, second = await sim.connect(), await sim.connect()
    assert (await sim.refresh(first["refresh_token"])).status_code == status
    assert (await sim.refresh(second["refresh_token"])).status_code == 200


async def test_sites_accumulate_in_an_account_level_grant_only(sim: Any) -> None:
    first = await sim.connect(sites=["Acme Engineering"])
    await sim.connect(sites=["Acme Support"])
    assert await sim.sites(first["access_token"]) == {"Acme Engineering"}
    await sim.admin("PATCH", "settings", grant_level="account")
    assert await sim.sites(first["access_token"]) == {"Acme Engineering", "Acme Support"}


async def test_withheld_scopes_are_not_granted(sim: Any) -> None:
    await sim.admin("PATCH", "settings", withheld_scopes=["read:jira-work"])
    assert (await sim.connect())["scope"] == "read:jira-user offline_access"


async def test_the_life_of_tokens_is_set_for_all_for_an_app_or_at_one_consent(sim: Any) -> None:
    await sim.admin("PATCH", "settings", token_lifetime=900)
    assert (await sim.connect("member"))["expires_in"] == 900
    await sim.admin("POST", "apps", client_id="demo", client_secret="demo", token_lifetime=10)
    sim.client_id = sim.secret = "demo"
    assert (await sim.connect("member"))["expires_in"] == 10
    tokens = await sim.connect(token_lifetime="7")
    renewed = (await sim.refresh(tokens["refresh_token"])).json()
    assert (tokens["expires_in"], renewed["expires_in"]) == (7, 7)
