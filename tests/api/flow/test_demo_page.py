"""The demo page's backend: what it does for its page, and for nobody else."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi.responses import HTMLResponse

from api.app import create_app
from api.demo_page import FILES, masked
from api.deps import ApiDeps, DemoPlaces
from domain.life import Kind
from vault.tables import Life, SessionToken
from workflows.messages import Freshness

HERE = "http://localhost:8080"
ELSEWHERE = "http://evil.example"
UI = "http://localhost:8233"
OURS = {"origin": HERE, "sec-fetch-site": "same-origin"}
WHO = {"tenant_id": "acme", "user_id": "ann"}
ACTIONS = ("call", "refresh", "revoke", "delete")


@pytest.fixture
def places(simulator: Any) -> DemoPlaces:
    transport = httpx.ASGITransport(simulator)
    return DemoPlaces("jira", "authpipe-dev", (HERE, "http://127.0.0.1:8080"), "http://127.0.0.1:9300", UI, transport)


@pytest.fixture
def deps(deps: ApiDeps, places: DemoPlaces) -> ApiDeps:
    return replace(deps, demo=places)


@pytest.fixture
def demo(new_browser: Callable[[], Any]) -> httpx.AsyncClient:
    """A browser on the demo's page."""
    http: httpx.AsyncClient = new_browser().http
    http.headers.update(OURS)
    return http


@pytest.fixture
def look(demo: httpx.AsyncClient) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def ask() -> dict[str, Any]:
        answer = await demo.get("/demo/api/state", params=WHO)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


@pytest.fixture
def open_(demo: httpx.AsyncClient) -> Callable[[str], Awaitable[str]]:
    """`await open_(slot)`: what the element does on a click; answers the link of the visit."""

    async def click(slot: str) -> str:
        minted = await demo.post("/demo/api/session-tokens", json={"slot": slot, **WHO})
        assert minted.status_code == 201, minted.text
        path = "sessions" if slot == "connection" else "installs"
        body = {"provider": "jira", "tenant_id": "acme"} | ({"user_id": "ann"} if slot == "connection" else {})
        token = {"authorization": f"Bearer {minted.json()['token']}"}
        opened = await demo.post(f"/oauth/{path}", json=body, headers=token)
        assert opened.status_code == 201, opened.text
        return str(opened.json()["authorization_url"])

    return click


@pytest.fixture
async def connected(config: Any, open_: Any, new_browser: Any, look: Any) -> dict[str, Any]:
    """An installation and a connection in it, made through the page's buttons; what the page shows then."""
    for slot, person in (("installation", "admin"), ("connection", "member")):
        browser = new_browser()
        await browser.http.get(await browser.consent(await open_(slot), person=person))
    shown: dict[str, Any] = (await look())["lives"]
    return shown


@pytest.fixture
def act(demo: httpx.AsyncClient, connected: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def press(action: str, slot: str = "connection") -> dict[str, Any]:
        answer = await demo.post(f"/demo/api/lives/{connected[slot]['id']}/{action}", json={})
        return dict(answer.json())

    return press


class TestOutsideDevelopment:
    @pytest.fixture
    def development(self) -> bool:
        return False

    @pytest.mark.parametrize("path", ["/demo", "/demo/demo.js", "/demo/api/state"])
    async def test_there_is_no_demo(self, demo: httpx.AsyncClient, path: str) -> None:
        assert (await demo.get(path)).status_code == 404

    @pytest.mark.parametrize("path", ["session-tokens", *(f"lives/conn_1/{action}" for action in ACTIONS)])
    async def test_and_nothing_acts(self, demo: httpx.AsyncClient, path: str) -> None:
        assert (await demo.post(f"/demo/api/{path}", json={})).status_code == 404


async def test_without_places_there_is_no_demo_in_development_either(deps: ApiDeps) -> None:
    app = create_app(replace(deps, demo=None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as http:
        assert (await http.get("/demo")).status_code == 404


@pytest.mark.parametrize("name", ["", *(f"/{name}" for name in FILES)])
async def test_the_page_is_strict_about_itself(demo: httpx.AsyncClient, name: str) -> None:
    answer = await demo.get(f"/demo{name}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


async def test_the_page_names_nothing_of_another_origin(demo: httpx.AsyncClient) -> None:
    for name in FILES:
        assert "://" not in (await demo.get(f"/demo/{name}")).text


async def test_no_other_file_is_served(demo: httpx.AsyncClient) -> None:
    assert (await demo.get("/demo/demo_page.py")).status_code == 404
    assert (await demo.get("/demo/..%2fapp.py")).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        {"origin": ELSEWHERE},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8080"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example:8080", "origin": "http://evil.example:8080"},
    ],
    ids=["another page", "a page without an origin", "its twin", "cross-site", "same-site", "a name bound to us anew"],
)
async def test_the_demos_power_answers_to_its_own_page_alone(
    demo: httpx.AsyncClient, connected: Any, sent: dict[str, str]
) -> None:
    asked = [await demo.get("/demo/api/state", params=WHO, headers=OURS | sent)]
    asked.append(await demo.post("/demo/api/session-tokens", json={"slot": "several", **WHO}, headers=OURS | sent))
    for action in ACTIONS:
        path = f"/demo/api/lives/{connected['connection']['id']}/{action}"
        asked.append(await demo.post(path, json={}, headers=OURS | sent))
    assert {answer.status_code for answer in asked} == {403}
    assert {"access-control-allow-origin"} & {name for answer in asked for name in answer.headers} == set()


async def test_a_foreign_name_that_leads_here_reads_nothing(demo: httpx.AsyncClient, config: Any) -> None:
    # A page asks its own origin without saying so.
    demo.headers.pop("origin")
    assert (await demo.get("/demo/api/state", params=WHO)).status_code == 200
    assert (await demo.get("/demo/api/state", params=WHO, headers={"host": "evil.example:8080"})).status_code == 403


async def test_a_post_that_does_not_say_from_where_is_refused(demo: httpx.AsyncClient) -> None:
    demo.headers.pop("origin")
    answer = await demo.post("/demo/api/session-tokens", json={"slot": "several", **WHO})
    assert answer.status_code == 403


async def test_the_page_shows_a_life_and_only_the_beginning_of_its_credential(
    connected: dict[str, Any], demo: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    life = connected["connection"]
    body = {"provider": "jira", **WHO, "credential_for": "user"}
    secret = (await client.post("/api/credentials", json=body)).json()["credential"]
    assert life["credential"] == masked(secret) == secret[:4] + "•" * 12
    assert secret not in (await demo.get("/demo/api/state", params=WHO)).text
    assert (life["status"], life["deleted"]) == ("active", False)
    assert connected["installation"]["site"]["name"] == "Acme Engineering"
    assert life["workflow_url"] == f"{UI}/namespaces/default/workflows/default%2Fconnection%2Fjira%2F{life['id']}"


async def test_nobody_connected_is_shown_as_nobody(config: Any, look: Any) -> None:
    assert (await look())["lives"] == {"installation": None, "connection": None, "several": None}


async def test_without_a_config_the_page_says_what_is_missing(demo: httpx.AsyncClient) -> None:
    answer = await demo.get("/demo/api/state", params=WHO)
    assert (answer.status_code, answer.json()["code"]) == (409, "config_missing")


async def test_a_minted_token_is_bound_to_the_pages_origin(config: Any, demo: httpx.AsyncClient, rows: Any) -> None:
    await demo.post("/demo/api/session-tokens", json={"slot": "connection", **WHO})
    (token,) = await rows(SessionToken)
    assert (token.opener_origin, token.tenant_id, token.user_id) == (HERE, "acme", "ann")
    assert (token.kind, token.provider_config_id) == (Kind.CONNECTION, config.id)


async def test_the_credential_is_used_at_the_provider_and_stays_with_the_server(
    act: Any, connected: dict[str, Any]
) -> None:
    said = await act("call")
    assert (said["status"], said["signed_in_as"]) == (200, "member")
    assert said["generation"] == connected["connection"]["generation"]
    assert len(said["issues"]) == 4
    assert said.keys() == {"status", "signed_in_as", "issues", "generation"}


async def test_revoking_at_the_provider_ends_the_credential_there(act: Any) -> None:
    assert (await act("revoke"))["revoked"] == 1
    assert (await act("call"))["status"] == 401
    assert (await act("revoke"))["revoked"] == 1


async def test_what_was_revoked_is_asked_for_at_once_and_noticed(
    act: Any, engine: Any, clock: Any, change: Any
) -> None:
    async def refused(life: Life, seen: int) -> Freshness:
        await change(Life, life.id, status="needs_reauth", reason="grant_revoked")
        return Freshness(seen)

    engine.refreshing = refused
    clock.advance(minutes=10)
    assert await act("revoke") == {"revoked": 1, "noticed": True, "again_at": None}


async def test_a_revoked_credential_that_is_too_young_says_when_it_will_be_noticed(
    act: Any, engine: Any, renew: Any, clock: Any
) -> None:
    engine.refreshing = renew
    said = await act("revoke")
    assert (said["revoked"], said["noticed"]) == (1, False)
    assert datetime.fromisoformat(said["again_at"]) == clock() + timedelta(seconds=30)


@pytest.mark.parametrize("action", ["call", "revoke"])
async def test_a_provider_that_is_away_is_said_so(act: Any, simulator: Any, action: str) -> None:
    simulator.router.routes.clear()
    simulator.add_api_route("/{path:path}", lambda: HTMLResponse("<h1>Maintenance</h1>"), methods=["GET", "POST"])
    said = await act(action)
    assert said.keys() == {"problem"}, said


async def test_a_young_credential_is_not_refreshed_and_an_older_one_is(
    act: Any, engine: Any, renew: Any, clock: Any
) -> None:
    engine.refreshing = renew
    said = await act("refresh")
    assert said["refreshed"] is False
    again_at = datetime.fromisoformat(said["again_at"])
    assert again_at == clock() + timedelta(seconds=30)
    clock.advance(seconds=30)
    assert (await act("refresh"))["refreshed"] is True


async def test_a_refresh_that_the_provider_hinders_is_told_from_one_that_comes_too_early(act: Any, clock: Any) -> None:
    clock.advance(minutes=10)
    said = await act("refresh")
    assert (said["refreshed"], said["again_at"]) == (False, None)


async def test_a_deleted_life_is_still_seen_with_what_became_of_it(act: Any, look: Any) -> None:
    assert await act("delete") == {"upstream": "pending"}
    life = (await look())["lives"]["connection"]
    assert (life["deleted"], life["status"], life["credential"]) == (True, "revoked", None)
    said = await act("call")
    assert said.keys() == {"problem"}
    assert "Open a session" in said["problem"]


async def test_with_two_installations_of_a_tenant_the_user_is_connected_in_the_first(
    connected: Any, open_: Any, new_browser: Any, client: httpx.AsyncClient, session_row: Any
) -> None:
    browser = new_browser()
    link = await open_("several")
    await browser.http.get(await browser.consent(link, person="admin", sites=("Acme Engineering", "Acme Support")))
    row = await session_row(link.rpartition("/")[2])
    assert row.state == "awaiting_selection"
    other = next(site["id"] for site in row.sites if site["name"] == "Acme Support")
    chosen = await client.post(f"/oauth/sessions/{row.id}/selection", json={"site_id": other})
    assert chosen.json()["status"] == "completed", chosen.text
    again = await open_("connection")
    assert (await session_row(again.rpartition("/")[2])).installation_id == connected["installation"]["id"]


async def test_another_workspaces_life_is_none_of_the_demos(demo: httpx.AsyncClient, new_life: Any) -> None:
    life = await new_life(workspace_id="another")
    for action in ACTIONS:
        assert (await demo.post(f"/demo/api/lives/{life.id}/{action}", json={})).status_code == 404
