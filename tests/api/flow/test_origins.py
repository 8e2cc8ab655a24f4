"""From which pages a browser may ask, and what it may read: CORS for allowed origins, and nothing beside."""

from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from vault.tables import AuthSession, Life

APP = "https://app.example.com"
OTHER = "https://other.example.com"
EVIL = "https://evil.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def readable_by(answer: httpx.Response) -> str | None:
    """Which origin's pages may read this answer; it is never more than one, and never with cookies."""
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    return answer.headers.get("access-control-allow-origin")


@pytest.fixture
async def listed(app_config: Any) -> Any:
    """A config whose browsers may end on a page of APP."""
    return await app_config(allowed_redirect_urls=[f"{APP}/done"])


async def mint(client: httpx.AsyncClient, client_with: Any, **fields: Any) -> httpx.AsyncClient:
    wish = {"provider": "jira", "tenant_id": "acme", "kind": "installation"} | fields
    answer = await client.post("/oauth/session-tokens", json=wish)
    assert answer.status_code == 201, answer.text
    page: httpx.AsyncClient = client_with(answer.json()["token"])
    return page


@pytest.mark.parametrize("origin", [APP, "http://localhost:8080"])
async def test_a_page_of_an_allowed_origin_may_open_and_follow_a_session(
    listed: Any, page: httpx.AsyncClient, opening: Any, rows: Any, origin: str
) -> None:
    headers = {"origin": origin}
    made = await page.post("/oauth/installs", json=opening(redirect_url=None), headers=headers)
    assert (made.status_code, readable_by(made)) == (201, origin)
    outcome = await page.get(f"/oauth/sessions/{made.json()['session_id']}", headers=headers)
    assert (outcome.status_code, readable_by(outcome)) == (200, origin)
    assert [row.opener_origin for row in await rows(AuthSession)] == [origin]


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "*",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.example",
        "https://app.example.com/",
        "HTTPS://app.example.com",
        "https://app.example.com;script-src",
    ],
)
async def test_a_page_of_any_other_origin_is_refused_and_leaves_nothing(
    listed: Any, page: httpx.AsyncClient, opened: Any, opening: Any, rows: Any, origin: str
) -> None:
    session = await opened(redirect_url=f"{APP}/done")
    headers = {"origin": origin}
    for answer in (
        await page.post("/oauth/installs", json=opening(label="x", redirect_url=None), headers=headers),
        await page.post("/oauth/sessions", json=opening(user_id="ann", redirect_url=None), headers=headers),
        await page.get(f"/oauth/sessions/{session['session_id']}", headers=headers),
    ):
        assert refused(answer) == (403, "origin_not_allowed")
        assert readable_by(answer) is None
    assert len(await rows(AuthSession)) == len(await rows(Life)) == 1


@pytest.mark.parametrize("path", ["/oauth/installs", "/oauth/sessions", "/oauth/sessions/sess_x", "/sdk/authpipe.js"])
async def test_a_preflight_is_answered_for_allowed_origins_only(listed: Any, client_with: Any, path: str) -> None:
    nobody = client_with("")
    answer = await nobody.options(path, headers=PREFLIGHT | {"origin": APP})
    assert (answer.status_code, readable_by(answer)) == (204, APP)
    method = "POST" if path in ("/oauth/installs", "/oauth/sessions") else "GET"
    assert answer.headers["access-control-allow-methods"] == method
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    foreign = await nobody.options(path, headers=PREFLIGHT | {"origin": EVIL})
    assert refused(foreign) == (403, "origin_not_allowed")
    assert readable_by(foreign) is None
    assert "access-control-allow-headers" not in foreign.headers


@pytest.mark.parametrize(
    "path",
    [
        "/oauth/session-tokens",
        "/oauth/sessions/sess_x/selection",
        "/oauth/sessions/sess_x/complete",
        "/oauth/sites/sess_x",
        "/oauth/done/sess_x",
        "/oauth/callback",
        "/api/credentials",
        "/api/connections/search",
        "/api/api-keys",
    ],
)
async def test_no_other_path_is_open_to_pages(listed: Any, client: httpx.AsyncClient, path: str) -> None:
    for answer in (
        await client.options(path, headers=PREFLIGHT | {"origin": APP}),
        await client.get(path, headers={"origin": APP}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_refusal_can_be_read_by_the_page_that_may_ask(listed: Any, client_with: Any, opening: Any) -> None:
    answer = await client_with("ap_pk_wrong").post("/oauth/installs", json=opening(), headers={"origin": APP})
    assert refused(answer) == (401, "unauthenticated")
    assert readable_by(answer) == APP


async def test_a_disabled_or_deleted_config_opens_no_origin(
    client: httpx.AsyncClient, client_with: Any, app_config: Any, clock: Any
) -> None:
    config = await app_config(allowed_redirect_urls=[f"{APP}/done"])
    ask = {"url": "/oauth/installs", "headers": PREFLIGHT | {"origin": APP}}
    assert (await client_with("").options(**ask)).status_code == 204
    await client.patch(f"/api/provider-configs/{config.id}", json={"enabled": False})
    clock.advance(seconds=6)
    assert (await client_with("").options(**ask)).status_code == 403
    await client.patch(f"/api/provider-configs/{config.id}", json={"enabled": True})
    assert (await client_with("").options(**ask)).status_code == 204
    assert (await client.delete(f"/api/provider-configs/{config.id}")).status_code == 204
    clock.advance(seconds=6)
    assert (await client_with("").options(**ask)).status_code == 403


async def test_another_workspaces_origin_is_not_ours(
    listed: Any, app_config: Any, page: httpx.AsyncClient, opening: Any, rows: Any
) -> None:
    await app_config(workspace="another", allowed_redirect_urls=[f"{OTHER}/done"])
    answer = await page.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": OTHER})
    assert refused(answer) == (403, "origin_not_allowed")
    assert await rows(AuthSession) == []


async def test_a_session_token_allows_the_origin_it_names_and_no_other(
    listed: Any, client: httpx.AsyncClient, client_with: Any, opening: Any, rows: Any
) -> None:
    element = await mint(client, client_with, opener_origin=OTHER)
    for origin in (APP, EVIL):
        answer = await element.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": origin})
        assert refused(answer) == (403, "origin_not_allowed")
    made = await element.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": OTHER})
    assert (made.status_code, readable_by(made)) == (201, OTHER)
    assert [row.opener_origin for row in await rows(AuthSession)] == [OTHER]


async def test_a_session_token_that_names_no_origin_takes_the_allowed_one_that_asks(
    listed: Any, client: httpx.AsyncClient, client_with: Any, opening: Any, rows: Any
) -> None:
    element = await mint(client, client_with)
    assert (await element.post("/oauth/installs", json=opening(), headers={"origin": EVIL})).status_code == 403
    answer = await element.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": APP})
    assert answer.status_code == 201
    assert [row.opener_origin for row in await rows(AuthSession)] == [APP]


async def test_the_page_of_a_used_token_may_go_on_asking_for_its_session_and_for_nothing_else(
    config: Any, client: httpx.AsyncClient, client_with: Any, opened: Any, opening: Any, clock: Any
) -> None:
    element, theirs = await mint(client, client_with, opener_origin=OTHER), {"origin": OTHER}
    made = (await element.post("/oauth/installs", json=opening(redirect_url=None), headers=theirs)).json()
    foreign = (await opened(label="foreign"))["session_id"]
    clock.advance(minutes=11)
    path = f"/oauth/sessions/{made['session_id']}"
    outcome = await element.get(path, headers=theirs)
    assert (outcome.status_code, readable_by(outcome)) == (200, OTHER)
    asked = {at: (await element.options(at, headers=PREFLIGHT | theirs)).status_code for at in (path, "/sdk/x.js")}
    assert asked == {path: 204, "/sdk/x.js": 204}
    for at in ("/oauth/installs", "/oauth/sessions", f"/oauth/sessions/{foreign}"):
        answer = await element.options(at, headers=PREFLIGHT | theirs)
        assert (answer.status_code, readable_by(answer)) == (403, None), at


@pytest.mark.parametrize(("used", "minutes"), [(True, 0), (True, 11), (False, 11)], ids=["used", "both", "expired"])
async def test_the_origin_of_a_token_that_is_used_or_expired_opens_nothing_by_a_publishable_key(
    config: Any,
    page: httpx.AsyncClient,
    client: httpx.AsyncClient,
    client_with: Any,
    opening: Any,
    clock: Any,
    rows: Any,
    used: bool,
    minutes: int,
) -> None:
    element, theirs = await mint(client, client_with, opener_origin=OTHER), {"origin": OTHER}
    if used:
        made = await element.post("/oauth/installs", json=opening(redirect_url=None), headers=theirs)
        assert made.status_code == 201
    clock.advance(minutes=minutes)
    before = len(await rows(AuthSession))
    answer = await page.post("/oauth/installs", json=opening(redirect_url=None, label="x"), headers=theirs)
    assert refused(answer) == (403, "origin_not_allowed")
    assert len(await rows(AuthSession)) == before


async def test_the_origin_of_a_token_that_is_still_unused_opens_by_a_publishable_key(
    config: Any, page: httpx.AsyncClient, client: httpx.AsyncClient, client_with: Any, opening: Any
) -> None:
    await mint(client, client_with, opener_origin=OTHER)
    made = await page.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": OTHER})
    assert (made.status_code, readable_by(made)) == (201, OTHER)


@pytest.mark.parametrize("given", ["https://APP.example.com", "https://app.example.com:443"])
async def test_the_origin_a_token_names_is_kept_as_browsers_write_it(
    config: Any, client: httpx.AsyncClient, client_with: Any, opening: Any, given: str
) -> None:
    element = await mint(client, client_with, opener_origin=given)
    answer = await element.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": APP})
    assert answer.status_code == 201


async def test_a_backend_has_no_origin_and_records_none(
    listed: Any, client: httpx.AsyncClient, opening: Any, rows: Any
) -> None:
    answer = await client.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": EVIL})
    assert (answer.status_code, readable_by(answer)) == (201, None)
    assert [row.opener_origin for row in await rows(AuthSession)] == [""]


async def test_with_the_vault_away_a_page_is_told_no_more_than_anybody(
    listed: Any, page: httpx.AsyncClient, opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> bool:
        raise OperationalError("SELECT", {}, ConnectionError())

    monkeypatch.setattr("api.origins._by_config", away)
    preflight = await page.options("/oauth/installs", headers={"origin": APP, **PREFLIGHT})
    assert refused(preflight) == (403, "origin_not_allowed")
    asked = await page.post("/oauth/installs", json=opening(redirect_url=None), headers={"origin": APP})
    assert (refused(asked), readable_by(asked)) == ((503, "database_unavailable"), None)
