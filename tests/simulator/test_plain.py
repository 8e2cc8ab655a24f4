"""The plain server: RFC 6749, 7009, 7636, 7662, 8414 and 9207, and no replay window."""

from typing import Any

import pytest


async def test_the_authorization_response_names_the_issuer(plain: Any) -> None:
    answers = [plain.answer(await plain.open(scope="unknown"))]
    page = await plain.open()
    answers.append(plain.answer(await plain.decide(plain.request_id(page), "deny")))
    page = await plain.open()
    answers.append(plain.answer(await plain.decide(plain.request_id(page))))
    assert {answer["iss"] for answer in answers} == {"http://sim.test/plain"}
    assert [answer.get("error") for answer in answers] == ["invalid_scope", "access_denied", None]


@pytest.mark.parametrize(
    "path", ["/plain/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/plain"]
)
async def test_the_metadata_agree_with_the_server(plain: Any, path: str) -> None:
    found = (await plain.http.get(path)).json()
    assert found["issuer"] == "http://sim.test/plain"
    assert found["token_endpoint"] == "http://sim.test/plain/token"
    assert found["authorization_response_iss_parameter_supported"] is True


async def test_basic_authentication_works_and_two_ways_at_once_do_not(plain: Any) -> None:
    token = (await plain.connect())["refresh_token"]
    data = {"grant_type": "refresh_token", "refresh_token": token}
    auth = (plain.client_id, plain.secret)
    twice = await plain.http.post("/plain/token", data={**data, "client_secret": plain.secret}, auth=auth)
    once = await plain.http.post("/plain/token", data=data, auth=auth)
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    assert once.status_code == 200


async def test_basic_credentials_are_form_encoded_first(plain: Any) -> None:
    await plain.admin("POST", "apps", client_id="with space", client_secret="a:b%c+d")
    data = {"grant_type": "refresh_token", "refresh_token": "never-issued"}
    answer = await plain.http.post("/plain/token", data=data, auth=("with+space", "a%3Ab%25c%2Bd"))
    assert answer.json()["error"] == "invalid_grant"


async def test_a_wrong_client_is_challenged(plain: Any) -> None:
    answer = await plain.refresh("whatever", client_secret="wrong")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_json_is_not_accepted(plain: Any) -> None:
    token = (await plain.connect())["refresh_token"]
    body = {"grant_type": "refresh_token", "client_id": plain.client_id, "client_secret": plain.secret}
    answer = await plain.http.post("/plain/token", json={**body, "refresh_token": token})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_public_client_needs_pkce_and_no_secret(plain: Any) -> None:
    await plain.admin("POST", "apps", client_id="public", public=True)
    plain.client_id, plain.secret = "public", None
    bare = plain.answer(await plain.open(code_challenge=None, code_challenge_method=None))
    assert bare["error"] == "invalid_request"
    tokens = await plain.connect()
    assert (await plain.refresh(tokens["refresh_token"])).status_code == 200
    assert (await plain.refresh(tokens["refresh_token"], client_secret="guess")).status_code == 401


async def test_reuse_of_a_refresh_token_kills_the_grant_at_once(plain: Any) -> None:
    tokens = await plain.connect()
    fresh = (await plain.refresh(tokens["refresh_token"])).json()
    reuse = await plain.refresh(tokens["refresh_token"])
    assert (reuse.status_code, reuse.json()["error"]) == (400, "invalid_grant")
    assert (await plain.refresh(fresh["refresh_token"])).status_code == 400
    assert (await plain.get("/plain/whoami", fresh["access_token"])).status_code == 401
    assert not (await plain.grant())["alive"]


async def test_a_refresh_cannot_widen_the_scope(plain: Any) -> None:
    token = (await plain.connect(scope="read"))["refresh_token"]
    wider = await plain.refresh(token, scope="read write")
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    assert (await plain.refresh(token, scope="read")).status_code == 200


async def test_whoami_checks_the_token(plain: Any) -> None:
    token = (await plain.connect())["access_token"]
    answer = await plain.get("/plain/whoami", token)
    assert answer.json() == {"sub": (await plain.grant())["account_id"], "scope": "read write"}
    plain.clock.now += 3600
    expired = await plain.get("/plain/whoami", token)
    assert expired.status_code == 401
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


async def test_a_token_of_one_server_is_nothing_at_the_other(plain: Any, sim: Any) -> None:
    theirs, ours = await sim.connect(), await plain.connect()
    assert (await plain.get("/plain/whoami", theirs["access_token"])).status_code == 401
    assert (await sim.myself(ours["access_token"])).status_code == 401
    assert (await plain.refresh(theirs["refresh_token"])).status_code == 400
    assert (await sim.refresh(ours["refresh_token"])).status_code == 403


async def _post(plain: Any, path: str, token: str, **changes: str) -> Any:
    client = {"client_id": plain.client_id, "client_secret": plain.secret}
    return await plain.http.post(path, data={**client, "token": token, **changes})


async def test_revoking_a_refresh_token_ends_the_grant(plain: Any) -> None:
    tokens = await plain.connect()
    assert (await _post(plain, "/plain/revoke", tokens["refresh_token"])).status_code == 200
    assert (await plain.refresh(tokens["refresh_token"])).status_code == 400
    assert (await plain.get("/plain/whoami", tokens["access_token"])).status_code == 401


async def test_revoking_an_access_token_ends_that_token_only(plain: Any) -> None:
    tokens = await plain.connect()
    assert (await _post(plain, "/plain/revoke", tokens["access_token"])).status_code == 200
    assert (await plain.get("/plain/whoami", tokens["access_token"])).status_code == 401
    assert (await plain.refresh(tokens["refresh_token"])).status_code == 200


async def test_revoking_what_is_unknown_succeeds_and_what_is_anothers_does_not(plain: Any) -> None:
    token = (await plain.connect())["refresh_token"]
    await plain.admin("POST", "apps", client_id="other", client_secret="other")
    assert (await _post(plain, "/plain/revoke", "never-issued")).status_code == 200
    foreign = await _post(plain, "/plain/revoke", token, client_id="other", client_secret="other")
    assert foreign.status_code == 400
    assert (await plain.refresh(token)).status_code == 200


async def test_introspection_tells_of_living_tokens_of_the_same_client(plain: Any) -> None:
    tokens = await plain.connect()
    access = (await _post(plain, "/plain/introspect", tokens["access_token"])).json()
    assert (access["active"], access["scope"], access["exp"]) == (True, "read write", plain.clock.now + 3600)
    await plain.admin("POST", "apps", client_id="other", client_secret="other")
    strangers = {"client_id": "other", "client_secret": "other"}
    assert (await _post(plain, "/plain/introspect", tokens["access_token"], **strangers)).json() == {"active": False}
    await plain.refresh(tokens["refresh_token"])
    assert (await _post(plain, "/plain/introspect", tokens["refresh_token"])).json() == {"active": False}
    plain.clock.now += 3600
    assert (await _post(plain, "/plain/introspect", tokens["access_token"])).json() == {"active": False}


async def test_a_public_client_may_not_introspect(plain: Any) -> None:
    await plain.admin("POST", "apps", client_id="public", public=True)
    answer = await plain.http.post("/plain/introspect", data={"client_id": "public", "token": "x"})
    assert answer.status_code == 401


async def test_each_consent_is_a_grant_of_its_own(plain: Any) -> None:
    await plain.connect()
    await plain.connect()
    assert len(await plain.admin("GET", "grants")) == 2
