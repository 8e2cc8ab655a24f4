"""A session token says for whom a page may open one session, and the page's own word does not count against it."""

import asyncio
from typing import Any

import httpx
import pytest

from vault.tables import AuthSession, Life


@pytest.fixture
def mint(client: httpx.AsyncClient, client_with: Any) -> Any:
    """`await mint(user_id="ann")`: a page that holds the token."""

    async def make(**fields: Any) -> httpx.AsyncClient:
        wish = {"provider": "jira", "tenant_id": "acme", "kind": "installation"} | fields
        answer = await client.post("/oauth/session-tokens", json=wish)
        assert answer.status_code == 201, answer.text
        page: httpx.AsyncClient = client_with(answer.json()["token"])
        return page

    return make


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_it_opens_one_session_that_needs_no_confirmation(
    mint: Any, config: Any, opening: Any, browser: Any, rows: Any
) -> None:
    page = await mint(user_id="ann")
    answer = await page.post("/oauth/installs", json=opening())
    assert answer.status_code == 201
    (row,) = await rows(AuthSession)
    assert (row.user_id, row.opened_by, row.needs_verification) == ("ann", "session_token", False)
    assert (await browser.walk(answer.json()["authorization_url"]))["status"] == "completed"
    assert refused(await page.post("/oauth/installs", json=opening())) == (401, "session_token_spent")


async def test_of_two_openings_at_once_one_wins(mint: Any, config: Any, opening: Any, rows: Any) -> None:
    page = await mint()
    answers = await asyncio.gather(*(page.post("/oauth/installs", json=opening()) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401]
    assert len(await rows(AuthSession)) == 1


@pytest.mark.parametrize(
    ("minted", "said", "path"),
    [
        ({}, {"tenant_id": "globex"}, "installs"),
        ({"user_id": "ann"}, {"user_id": "bob"}, "installs"),
        ({}, {"user_id": "bob"}, "installs"),
        ({}, {"provider": "plain"}, "installs"),
        ({"kind": "connection", "user_id": "ann"}, {}, "installs"),
        ({}, {"user_id": None}, "sessions"),
        ({"provider_config_id": "cfg_1"}, {"provider_config_id": "cfg_2"}, "installs"),
        ({"redirect_url": "http://localhost:8080/only"}, {}, "installs"),
        ({}, {"label": "other"}, "installs"),
        ({"label": "work"}, {"label": "default"}, "installs"),
        ({"scopes": ["read:jira-work"]}, {"permissions": ["write:jira-work"]}, "installs"),
        ({"scopes": []}, {"permissions": ["write:jira-work"]}, "installs"),
        (
            {"kind": "connection", "user_id": "ann", "installation_id": "inst_1"},
            {"installation_id": "inst_2"},
            "sessions",
        ),
    ],
)
async def test_a_page_that_says_otherwise_is_refused_and_the_token_stays_good(
    mint: Any, config: Any, opening: Any, rows: Any, minted: dict[str, Any], said: dict[str, Any], path: str
) -> None:
    page = await mint(**minted)
    answer = await page.post(f"/oauth/{path}", json=opening(**said))
    assert refused(answer) == (403, "session_token_mismatch")
    assert await rows(AuthSession) == []


async def test_its_scopes_and_redirect_url_hold(mint: Any, config: Any, opening: Any, rows: Any) -> None:
    page = await mint(scopes=["read:jira-work", "write:jira-work"], redirect_url="http://localhost:8080/only")
    body = opening(redirect_url="http://localhost:8080/only", permissions=["read:jira-work"])
    assert (await page.post("/oauth/installs", json=body)).status_code == 201
    (row,) = await rows(AuthSession)
    assert row.redirect_url == "http://localhost:8080/only"
    assert row.scopes[0] == "read:jira-work"


async def test_its_redirect_url_must_be_allowed_too(mint: Any, config: Any, opening: Any) -> None:
    page = await mint(redirect_url="https://evil.example/")
    body = opening(redirect_url="https://evil.example/")
    assert refused(await page.post("/oauth/installs", json=body)) == (422, "redirect_url_not_allowed")


async def test_it_ends_after_ten_minutes(mint: Any, config: Any, opening: Any, clock: Any) -> None:
    page = await mint()
    clock.advance(minutes=10)
    assert refused(await page.post("/oauth/installs", json=opening())) == (401, "session_token_spent")


async def test_afterwards_it_is_good_for_its_own_outcome_alone(
    mint: Any, config: Any, opening: Any, opened: Any, clock: Any
) -> None:
    page, other = await mint(), await opened(label="other")
    assert refused(await page.get(f"/oauth/sessions/{other['session_id']}")) == (404, "not_found")
    own = (await page.post("/oauth/installs", json=opening())).json()
    clock.advance(minutes=11)
    outcome = await page.get(f"/oauth/sessions/{own['session_id']}")
    assert (outcome.status_code, outcome.json()["status"]) == (200, "pending")
    assert not {"tenant_id", "user_id"} & outcome.json().keys()
    assert refused(await page.get(f"/oauth/sessions/{other['session_id']}")) == (404, "not_found")
    body = {"site_id": "x"}
    assert (await page.post(f"/oauth/sessions/{own['session_id']}/selection", json=body)).status_code == 401
    body = {"tenant_id": "acme"}
    assert (await page.post(f"/oauth/sessions/{own['session_id']}/complete", json=body)).status_code == 401


async def test_it_belongs_to_its_workspace(
    stranger: httpx.AsyncClient, client_with: Any, config: Any, opening: Any, rows: Any
) -> None:
    wish = {"provider": "jira", "tenant_id": "acme", "kind": "installation", "provider_config_id": config.id}
    token = (await stranger.post("/oauth/session-tokens", json=wish)).json()["token"]
    assert refused(await client_with(token).post("/oauth/installs", json=opening())) == (404, "not_found")
    assert await rows(Life) == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"provider": "nowhere"}, 404, "provider_unknown"),
        ({"kind": "other"}, 422, "bad_request"),
        ({"opener_origin": "javascript:alert(1)"}, 422, "bad_request"),
        ({"opener_origin": "*"}, 422, "bad_request"),
        ({"opener_origin": "null"}, 422, "bad_request"),
        ({"opener_origin": "https://app.example.com/path"}, 422, "bad_request"),
        ({"opener_origin": "https://app.example.com?x"}, 422, "bad_request"),
        ({"tenant_id": "a\u0000"}, 422, "bad_request"),
        ({"redirect_url": "http://localhost:8080/\u0000"}, 422, "bad_request"),
    ],
)
async def test_a_bad_wish_mints_nothing(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, code: str
) -> None:
    wish = {"provider": "jira", "tenant_id": "acme"} | change
    assert refused(await client.post("/oauth/session-tokens", json=wish)) == (status, code)


async def test_a_good_opener_origin_is_kept_in_the_session(mint: Any, config: Any, opening: Any, rows: Any) -> None:
    page = await mint(opener_origin="https://app.example.com")
    assert (await page.post("/oauth/installs", json=opening())).status_code == 201
    assert [row.opener_origin for row in await rows(AuthSession)] == ["https://app.example.com"]


@pytest.mark.parametrize(("minted", "label"), [({}, "default"), ({"label": "work"}, "work")])
async def test_its_label_is_the_lifes(
    mint: Any, config: Any, opening: Any, rows: Any, minted: dict[str, str], label: str
) -> None:
    page = await mint(**minted)
    assert (await page.post("/oauth/installs", json=opening())).status_code == 201
    assert [life.label for life in await rows(Life)] == [label]
