"""The admin endpoint: what a test or a demo may do to the providers, and what it is told."""

from typing import Any

import pytest


async def test_a_revoked_grant_is_dead_and_a_new_consent_makes_another(sim: Any) -> None:
    tokens = await sim.connect()
    grant = await sim.grant()
    await sim.admin("POST", f"grants/{grant['id']}/revoke")
    assert (await sim.myself(tokens["access_token"])).status_code == 401
    assert (await sim.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    await sim.connect()
    assert [grant["alive"] for grant in await sim.admin("GET", "grants")] == [False, True]


async def test_a_changed_password_ends_refresh_tokens_only(sim: Any) -> None:
    tokens = await sim.connect()
    await sim.admin("POST", "accounts/admin/change-password")
    assert (await sim.refresh(tokens["refresh_token"])).status_code == 403
    assert (await sim.myself(tokens["access_token"])).status_code == 200
    assert not (await sim.grant())["alive"]


async def test_a_removed_app_is_refused_everywhere(sim: Any) -> None:
    tokens = await sim.connect()
    await sim.admin("DELETE", "apps/authpipe-dev", 204)
    assert (await sim.refresh(tokens["refresh_token"])).json()["error"] == "access_denied"
    assert (await sim.myself(tokens["access_token"])).status_code == 401
    assert (await sim.open()).status_code == 400


async def test_a_rotated_client_secret_takes_effect_at_once(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    fresh = await sim.admin("POST", "apps/authpipe-dev/rotate-secret")
    assert (await sim.refresh(token)).json()["error"] == "access_denied"
    assert (await sim.refresh(token, client_secret=fresh["client_secret"])).status_code == 200


async def test_a_lost_site_is_lost_to_existing_tokens(sim: Any) -> None:
    token = (await sim.connect(sites=["Acme Engineering", "Acme Support"]))["access_token"]
    await sim.admin("PUT", "accounts/admin", sites=["Acme Support"])
    assert await sim.sites(token) == {"Acme Support"}
    await sim.admin("DELETE", "sites/Acme Support", 204)
    assert await sim.sites(token) == set()
    assert (await sim.http.get("/")).status_code == 200


async def test_a_removed_account_takes_its_grants_along(sim: Any) -> None:
    tokens = await sim.connect()
    await sim.admin("DELETE", "accounts/admin", 204)
    assert (await sim.refresh(tokens["refresh_token"])).status_code == 403
    assert (await sim.myself(tokens["access_token"])).status_code == 401


async def test_a_new_person_can_sign_in(sim: Any) -> None:
    await sim.admin("POST", "sites", name="Third Site")
    await sim.admin("PUT", "accounts/auditor", sites=["Third Site"])
    token = (await sim.connect("auditor", sites=["Third Site"]))["access_token"]
    assert await sim.sites(token) == {"Third Site"}


async def test_the_lookup_tells_a_living_token_from_a_dead_one(sim: Any) -> None:
    tokens = await sim.connect()
    fresh = (await sim.refresh(tokens["refresh_token"])).json()["refresh_token"]
    old, new = await sim.lookup("refresh", tokens["refresh_token"]), await sim.lookup("refresh", fresh)
    assert (old["valid"], old["current"], old["presented"]) == (True, False, 1)
    assert (new["valid"], new["current"], new["presented"]) == (True, True, 0)
    sim.clock.now += 600
    stale = await sim.lookup("refresh", tokens["refresh_token"])
    assert (stale["valid"], stale["would_be"], stale["grant_alive"]) == (False, "reused", True)
    sim.clock.now += 3000
    access = await sim.lookup("access", tokens["access_token"])
    assert (access["known"], access["valid"], access["grant_alive"]) == (True, False, True)


async def test_unknown_tokens_are_counted_too(sim: Any) -> None:
    await sim.refresh("never-issued")
    await sim.refresh("never-issued")
    found = await sim.lookup("refresh", "never-issued")
    assert (found["known"], found["valid"]) == (False, False)
    assert found["outcomes"] == {"unknown": 2}


async def test_a_fingerprint_is_looked_up_as_one_kind(sim: Any) -> None:
    token = (await sim.connect())["access_token"]
    assert (await sim.lookup("access", token))["known"]
    assert not (await sim.lookup("refresh", token))["known"]


async def test_the_report_counts_by_grant_and_by_token_and_shows_no_secret(sim: Any) -> None:
    code = await sim.consent()
    tokens = (await sim.exchange(code)).json()
    await sim.myself(tokens["access_token"])
    await sim.exchange(code, client_secret="wrong")
    report = await sim.grant()
    uses = {entry["sha256"]: entry["outcomes"] for entry in report["tokens"]}
    assert uses == {
        sim.sha(code): {"exchanged": 1},
        sim.sha(tokens["access_token"]): {"accepted": 1},
        sim.sha(tokens["refresh_token"]): {},
    }
    assert (report["counters"]["exchanges"], report["counters"]["api_calls"]) == (1, 1)
    assert not any(secret in str(report) for secret in (code, tokens["access_token"], tokens["refresh_token"]))


async def test_grants_are_found_by_app_and_person(sim: Any) -> None:
    await sim.connect("admin")
    await sim.connect("member")
    (found,) = await sim.admin("GET", "grants?client_id=authpipe-dev&person=member")
    assert found["person"] == "member"


async def test_the_clock_can_be_shifted(sim: Any) -> None:
    token = (await sim.connect())["access_token"]
    await sim.admin("POST", "clock", offset_seconds=3600)
    assert (await sim.myself(token)).status_code == 401
    await sim.admin("POST", "clock", offset_seconds=0)
    assert (await sim.myself(token)).status_code == 200


async def test_a_grants_token_life_can_be_changed(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    grant = await sim.grant()
    await sim.admin("PATCH", f"grants/{grant['id']}", token_lifetime=5)
    assert (await sim.refresh(token)).json()["expires_in"] == 5


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "settings", {"token_lifetime": 0}),
        ("PATCH", "settings", {"no_such": 1}),
        ("POST", "apps", {"client_id": "x", "no_such": 1}),
        ("POST", "faults", {"endpoint": "no_such", "kind": "status"}),
        ("POST", "faults", {"endpoint": "token", "kind": "no_such"}),
        ("POST", "faults", {"endpoint": "token", "kind": "status", "no_such": 1}),
    ],
)
async def test_an_admin_call_that_makes_no_sense_is_refused(
    sim: Any, method: str, path: str, body: dict[str, Any]
) -> None:
    await sim.admin(method, path, 422, **body)


async def test_what_does_not_exist_is_not_found(sim: Any) -> None:
    for path in ("grants/x/revoke", "accounts/x/change-password", "apps/x/rotate-secret"):
        await sim.admin("POST", path, 404)
    await sim.admin("PUT", "accounts/admin", 404, sites=["Nowhere"])


async def test_a_reset_brings_the_first_state_back(sim: Any) -> None:
    await sim.connect()
    await sim.admin("PATCH", "settings", token_lifetime=5)
    await sim.admin("POST", "faults", endpoint="token", kind="status")
    await sim.admin("POST", "reset", 204)
    assert await sim.admin("GET", "grants") == await sim.admin("GET", "faults") == []
    assert (await sim.connect())["expires_in"] == 3600


async def test_a_grant_without_refresh_tokens_lives_as_long_as_its_last_token(sim: Any) -> None:
    await sim.consent(scope="read:jira-user")
    sim.clock.now += 599
    assert (await sim.grant())["alive"]
    sim.clock.now += 1
    assert not (await sim.grant())["alive"]
    await sim.connect(scope="read:jira-user")
    sim.clock.now += 3599
    assert (await sim.grant())["alive"]
    sim.clock.now += 1
    assert not (await sim.grant())["alive"]
