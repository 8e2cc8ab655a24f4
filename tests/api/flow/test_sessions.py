"""Opening a session: what is refused, and what an outcome tells to whom."""

from typing import Any

import httpx
import pytest

from api import opening as opening_room
from vault.deletions import entomb
from vault.lives import find_or_create
from vault.tables import AuthSession, Life, SessionToken


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_an_opened_session_hands_out_our_own_link_and_wakes_its_life(
    client: httpx.AsyncClient, config: Any, opening: Any, engine: Any, rows: Any
) -> None:
    answer = await client.post("/oauth/installs", json=opening(user_id="ann"))
    assert answer.status_code == 201
    body = answer.json()
    assert body["authorization_url"] == f"http://localhost:8080/oauth/visit/{body['session_id']}"
    assert body["expires_at"] == "2026-03-01T12:15:00Z"
    (life,) = await rows(Life)
    assert (life.status, life.kind, life.tenant_id, life.user_id) == ("pending", "installation", "acme", "")
    assert engine.calls == [("wake", life.id)]


async def test_two_sessions_for_the_same_key_share_one_life(config: Any, opened: Any, rows: Any) -> None:
    assert (await opened())["session_id"] != (await opened())["session_id"]
    await opened(label="second")
    assert [life.label for life in await rows(Life)] == ["default", "second"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"provider": "nowhere"}, 404, "provider_unknown"),
        ({"provider_config_id": "cfg_unknown"}, 404, "not_found"),
        ({"permissions": ["read:jira-wrok"]}, 422, "invalid_scope"),
        ({"redirect_url": "https://evil.example/"}, 422, "redirect_url_not_allowed"),
        ({"redirect_url": ""}, 422, "bad_request"),
        ({"tenant_id": ""}, 422, "bad_request"),
        ({"tenant_id": "a" * 129}, 422, "bad_request"),
        ({"tenant_id": "a\u0000b"}, 422, "bad_request"),
        ({"tenant_id": "a\nb"}, 422, "bad_request"),
        ({"tenant_id": "a\u202eb"}, 422, "bad_request"),
        ({"tenant_id": 7}, 422, "bad_request"),
        ({"permissions": ["x"] * 101}, 422, "bad_request"),
        ({"permissions": "read:jira-work"}, 422, "bad_request"),
        ({"redirect_url": "http://localhost:8080/" + "a" * 2048}, 422, "bad_request"),
        ({"tenantid": "typo"}, 422, "bad_request"),
    ],
)
async def test_a_bad_opening_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, config: Any, opening: Any, rows: Any, change: dict[str, Any], status: int, code: str
) -> None:
    assert refused(await client.post("/oauth/installs", json=opening(**change))) == (status, code)
    assert await rows(AuthSession) == []
    assert await rows(Life) == []


async def test_an_unknown_scope_is_answered_with_the_nearest_known_one(
    client: httpx.AsyncClient, config: Any, opening: Any
) -> None:
    answer = await client.post("/oauth/installs", json=opening(permissions=["read:jira-wrok"]))
    assert "'read:jira-work'" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"not json",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 20_000,
        b'{"tenant_id": ' + b"9" * 5000 + b"}",
        b'{"tenant_id": "\\ud800", "provider": "jira", "redirect_url": "http://localhost:8080/"}',
        b'{"\\ud800": 1}',
        b'{"tenant_id": NaN}',
        b'{"tenant_id": 1e999}',
    ],
)
async def test_what_is_no_usable_json_gets_a_problem(client: httpx.AsyncClient, content: bytes) -> None:
    for path in ("/oauth/installs", "/oauth/sessions", "/oauth/session-tokens", "/api/credentials"):
        answer = await client.post(path, content=content, headers={"content-type": "application/json"})
        assert refused(answer) in ((400, "malformed_json"), (422, "bad_request")), path


async def test_an_unknown_field_is_named_but_not_repeated_at_length(client: httpx.AsyncClient) -> None:
    answer = await client.post("/oauth/installs", json={"x" * 50_000: 1})
    assert refused(answer) == (422, "bad_request")
    assert len(answer.content) < 4000


async def test_a_disabled_config_opens_nothing(
    client: httpx.AsyncClient, app_config: Any, opening: Any, rows: Any
) -> None:
    await app_config(enabled=False)
    assert refused(await client.post("/oauth/installs", json=opening())) == (409, "config_disabled")


async def test_without_a_config_there_is_nothing_to_open(client: httpx.AsyncClient, opening: Any) -> None:
    assert refused(await client.post("/oauth/installs", json=opening())) == (409, "config_missing")


async def test_several_enabled_configs_are_a_choice_for_the_caller_and_a_page_learns_their_ids_alone(
    client: httpx.AsyncClient, page: httpx.AsyncClient, app_config: Any, opening: Any
) -> None:
    one, two = await app_config(), await app_config()
    await app_config(enabled=False)
    answer = await client.post("/oauth/installs", json=opening())
    assert refused(answer) == (409, "ambiguous")
    assert {c["provider_config_id"] for c in answer.json()["candidates"]} == {one.id, two.id}
    assert {c["client_id"] for c in answer.json()["candidates"]} == {"authpipe-dev"}
    asked = await page.post("/oauth/installs", json=opening())
    assert refused(asked) == (409, "ambiguous")
    named = sorted(asked.json()["candidates"], key=str)
    assert named == sorted([{"provider_config_id": c.id} for c in (one, two)], key=str)
    assert (await client.post("/oauth/installs", json=opening(provider_config_id=two.id))).status_code == 201


async def test_another_workspaces_config_and_installation_are_not_there(
    stranger: httpx.AsyncClient,
    client: httpx.AsyncClient,
    installation: str,
    config: Any,
    app_config: Any,
    opening: Any,
) -> None:
    named = opening(provider_config_id=config.id)
    assert refused(await stranger.post("/oauth/installs", json=named)) == (404, "not_found")
    theirs = await app_config(workspace="another")
    wish = opening(provider_config_id=theirs.id, user_id="ann", installation_id=installation)
    assert refused(await stranger.post("/oauth/sessions", json=wish)) == (404, "not_found")


async def test_a_user_connection_needs_an_active_installation(
    client: httpx.AsyncClient, config: Any, opening: Any, rows: Any
) -> None:
    answer = await client.post("/oauth/sessions", json=opening(user_id="ann"))
    assert refused(answer) == (409, "installation_required")
    assert await rows(AuthSession) == []


async def test_a_config_attached_to_users_needs_one(client: httpx.AsyncClient, installation: str, opening: Any) -> None:
    assert refused(await client.post("/oauth/sessions", json=opening())) == (422, "user_required")


async def test_a_tenant_config_needs_no_user(client: httpx.AsyncClient, app_config: Any, opening: Any) -> None:
    await app_config(provider_id="plain", attachment="tenant")
    wish = opening(provider="plain")
    assert refused(await client.post("/oauth/sessions", json=wish)) == (409, "installation_required")


async def test_several_installations_are_never_guessed_among(
    client: httpx.AsyncClient, page: httpx.AsyncClient, config: Any, opened: Any, browser: Any, opening: Any
) -> None:
    one = await browser.walk((await opened())["authorization_url"])
    two = await browser.walk((await opened(label="2"))["authorization_url"], sites=["Acme Support"])
    answer = await client.post("/oauth/sessions", json=opening(user_id="ann"))
    assert refused(answer) == (409, "ambiguous")
    candidates = {c["installation_id"]: c["site"] for c in answer.json()["candidates"]}
    assert candidates == {one["installation_id"]: "Acme Engineering", two["installation_id"]: "Acme Support"}
    named = opening(user_id="ann", installation_id=two["installation_id"])
    assert (await client.post("/oauth/sessions", json=named)).status_code == 201
    # A publishable key stands in everyone's page: it must not learn which sites some tenant has.
    asked = await page.post("/oauth/sessions", json=opening(user_id="ann"))
    assert refused(asked) == (409, "ambiguous")
    assert "candidates" not in asked.json()


async def test_with_the_engine_away_no_session_is_left_behind(
    client: httpx.AsyncClient, config: Any, opening: Any, engine: Any, rows: Any
) -> None:
    engine.away = True
    answer = await client.post("/oauth/installs", json=opening())
    assert refused(answer) == (503, "temporal_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert await rows(AuthSession) == []


async def test_with_the_engine_away_a_session_token_stays_unspent(
    client: httpx.AsyncClient, client_with: Any, config: Any, opening: Any, engine: Any, rows: Any
) -> None:
    minted = await client.post(
        "/oauth/session-tokens", json={"provider": "jira", "tenant_id": "acme", "kind": "installation"}
    )
    element = client_with(minted.json()["token"])
    engine.away = True
    assert refused(await element.post("/oauth/installs", json=opening())) == (503, "temporal_unavailable")
    (token,) = await rows(SessionToken)
    assert (token.used_at, token.session_id) == (None, "")
    engine.away = False
    assert (await element.post("/oauth/installs", json=opening())).status_code == 201


NASTY = [
    "https://app.example.com@evil.example/",
    "https://user:pw@app.example.com/",
    "https://@app.example.com/",
    "https://app.example.com\\@evil.example/",
    "https://evil.example\\@app.example.com/",
    "https:\\\\app.example.com/",
    "https://app.example.com/\\evil.example/",
    "//app.example.com/done",
    "///app.example.com/done",
    "https:app.example.com/done",
    "/done",
    "done",
    "javascript:alert(1)//app.example.com",
    "javascript://app.example.com/%0aalert(1)",
    "data:text/html,x",
    "http://app.example.com/done",
    "https://app.example.com:8443/done",
    "https://app.example.com:0/done",
    "https://app.example.com:99999/done",
    "https://app.example.com:port/done",
    "https://app.example.com.evil.example/done",
    "https://evilapp.example.com/done",
    "https://x.app.example.com/done",
    "https://app.example.com./done",
    "https://app%2eexample.com/done",
    "https://app.example.com%2f@evil.example/",
    "https://app.example.com%00.evil.example/",
    "https://evil.example/https://app.example.com/",
    "https://evil.example#@app.example.com/",
    "https://evil.example?@app.example.com/",
    " https://app.example.com/done",
    "https://app.example.com/done\n",
    "https://app.example.com/\tdone",
    "https://app.example.com/\u0000",
    "https://app.example.com/\r\nset-cookie:a=b",
    "https://\uff41pp.example.com/done",
    "https://app.example\u3002com/done",
    "https://[app.example.com/done",
    "http://localhost/done",
    "ftp://app.example.com/",
    "https://",
]


async def test_a_redirect_url_of_another_origin_is_refused(
    client: httpx.AsyncClient, app_config: Any, opening: Any, rows: Any
) -> None:
    await app_config(oauth_redirect_url="https://app.example.com/oauth/callback")
    for url in NASTY:
        status, code = refused(await client.post("/oauth/installs", json=opening(redirect_url=url)))
        # A character that no URL holds is refused before anybody asks where it leads.
        assert (status, code) == (422, "redirect_url_not_allowed" if url.isprintable() else "bad_request"), url
    assert await rows(AuthSession) == []


@pytest.mark.parametrize("url", ["https://app.example.com", "HTTPS://APP.example.com:443/x?y=%20#z"])
async def test_a_redirect_url_of_the_same_origin_is_taken(
    client: httpx.AsyncClient, app_config: Any, opening: Any, url: str
) -> None:
    await app_config(oauth_redirect_url="https://app.example.com/oauth/callback")
    assert (await client.post("/oauth/installs", json=opening(redirect_url=url))).status_code == 201


async def test_an_allow_list_matches_whole_urls_only(client: httpx.AsyncClient, app_config: Any, opening: Any) -> None:
    await app_config(
        oauth_redirect_url="https://app.example.com/oauth/callback",
        allowed_redirect_urls=["https://other.example/done"],
    )
    taken = await client.post("/oauth/installs", json=opening(redirect_url="https://other.example/done"))
    assert taken.status_code == 201
    for url in ("https://other.example/done/", "https://other.example/done?x=1", "https://app.example.com/done"):
        answer = await client.post("/oauth/installs", json=opening(redirect_url=url))
        assert refused(answer) == (422, "redirect_url_not_allowed")


async def test_a_publishable_key_sees_the_outcome_and_no_person(
    client: httpx.AsyncClient, page: httpx.AsyncClient, config: Any, opened: Any, browser: Any
) -> None:
    session = await opened(user_id="ann")
    await browser.walk(session["authorization_url"])
    outcome = (await page.get(f"/oauth/sessions/{session['session_id']}")).json()
    in_full = (await client.get(f"/oauth/sessions/{session['session_id']}")).json()
    assert outcome["status"] == "completed"
    assert outcome["installation_id"].startswith("inst_")
    assert not {"tenant_id", "user_id", "sites", "expected"} & outcome.keys()
    assert (in_full["tenant_id"], in_full["user_id"]) == ("acme", "ann")


async def test_before_it_is_done_a_publishable_key_is_not_told_what_is_there(
    client: httpx.AsyncClient, page: httpx.AsyncClient, installation: str, opened: Any, browser: Any
) -> None:
    """Any tenant can be named with it; and what was expected is a site's name or an account's id."""
    session = await opened("sessions", by=page, user_id="ann")
    path = f"/oauth/sessions/{session['session_id']}"
    assert "installation_id" not in (await page.get(path)).json()
    assert (await client.get(path)).json()["installation_id"] == installation
    await browser.walk(session["authorization_url"], sites=["Acme Support"])
    asked = (await page.get(path)).json()
    assert asked["reason"] == "site_mismatch"
    assert not {"installation_id", "expected"} & asked.keys()


async def test_the_sessions_own_token_is_told_what_was_expected_and_in_which_installation(
    client: httpx.AsyncClient, client_with: Any, installation: str, opening: Any, browser: Any
) -> None:
    wish = {"provider": "jira", "tenant_id": "acme", "user_id": "ann"}
    element = client_with((await client.post("/oauth/session-tokens", json=wish)).json()["token"])
    session = (await element.post("/oauth/sessions", json=opening(user_id="ann"))).json()
    path = f"/oauth/sessions/{session['session_id']}"
    assert (await element.get(path)).json()["installation_id"] == installation
    await browser.walk(session["authorization_url"], sites=["Acme Support"])
    outcome = (await element.get(path)).json()
    assert (outcome["reason"], outcome["expected"]) == ("site_mismatch", "Acme Engineering")
    assert not {"tenant_id", "user_id", "sites"} & outcome.keys()


async def test_a_session_of_another_workspace_is_not_there(
    stranger: httpx.AsyncClient, client: httpx.AsyncClient, config: Any, opened: Any
) -> None:
    path = f"/oauth/sessions/{(await opened())['session_id']}"
    assert refused(await stranger.get(path)) == (404, "not_found")
    assert refused(await stranger.post(f"{path}/selection", json={"site_id": "x"})) == (404, "not_found")
    assert refused(await stranger.post(f"{path}/complete", json={"tenant_id": "acme"})) == (404, "not_found")


async def test_before_it_is_accepted_a_session_names_no_life(
    client: httpx.AsyncClient, config: Any, opened: Any
) -> None:
    outcome = (await client.get(f"/oauth/sessions/{(await opened())['session_id']}")).json()
    assert outcome["status"] == "pending"
    assert not {"installation_id", "connection_id", "reason"} & outcome.keys()


@pytest.mark.parametrize(("times", "status"), [(1, 201), (2, 409)])
async def test_a_session_is_never_recorded_for_a_life_that_is_deleted_meanwhile(
    client: httpx.AsyncClient,
    config: Any,
    opening: Any,
    rows: Any,
    deps: Any,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    status: int,
) -> None:
    deleted: list[str] = []

    async def find(*asked: Any) -> Life:
        life = await find_or_create(*asked)
        if len(deleted) < times:
            deleted.append(life.id)
            await entomb(deps.db, life.id, deps.clock())
        return life

    monkeypatch.setattr(opening_room, "find_or_create", find)
    answer = await client.post("/oauth/installs", json=opening())
    assert answer.status_code == status, answer.text
    if status == 409:
        assert answer.json()["code"] == "deleted_meanwhile"
    living = {life.id for life in await rows(Life) if life.deleted_at is None}
    assert {row.life_id for row in await rows(AuthSession)} == living
    assert len(deleted) == times
