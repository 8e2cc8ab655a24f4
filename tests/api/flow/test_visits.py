"""The link a browser opens."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.deps import ApiDeps
from tests.api.flow.hosted import check_page, heading, page_code, words
from vault import sessions
from vault.tables import AuthSession, Visit

TLS = "https://app.example.com/oauth/callback"


LINK = re.compile(r'<a class="button" href="([^"]+)"')


async def test_the_page_says_who_connects_what_to_whom_and_leads_on(config: Any, opened: Any, browser: Any) -> None:
    session = await opened(user_id="ann")
    answer = await browser.http.get(session["authorization_url"])
    assert answer.status_code == 200
    for name in ("Jira", "acme", "ann", "localhost"):
        assert f"<strong>{name}</strong>" in answer.text


async def test_the_builders_name_is_on_it_and_where_it_is(app_config: Any, opened: Any, browser: Any) -> None:
    await app_config(display_name="Acme Tools", allowed_redirect_urls=["https://app.example.com/done"])
    answer = await browser.http.get((await opened(redirect_url="https://app.example.com/done"))["authorization_url"])
    assert heading(answer) == "Install Acme Tools in Jira"
    assert "Application Acme Tools at app.example.com" in words(answer)


async def test_it_says_what_the_app_will_be_able_to_do_in_the_catalogs_words(
    config: Any, opened: Any, browser: Any, deps: Any
) -> None:
    answer = await browser.http.get((await opened(permissions=["read:jira-work"]))["authorization_url"])
    asked = parse_qs(urlsplit(LINK.findall(answer.text)[0].replace("&amp;", "&")).query)["scope"][0].split()
    lists = deps.catalog["jira"].scopes
    described = {scope.id: scope.description for scope in (*lists.user, *lists.installation)}
    assert {"read:jira-work", "offline_access"} <= set(asked)
    for scope in asked:
        assert described[scope] in words(answer)


async def test_it_warns_who_did_not_start_this_and_goes_nowhere_by_itself(
    config: Any, opened: Any, browser: Any
) -> None:
    answer = await browser.http.get((await opened())["authorization_url"])
    check_page(answer)
    assert "refresh" not in answer.headers
    assert "If you did not start this yourself, close this page" in words(answer)


async def test_the_way_on_is_the_providers_with_pkce_and_a_state_of_its_own(
    config: Any, opened: Any, browser: Any, rows: Any
) -> None:
    session = await opened()
    urls = [await browser.open(session["authorization_url"]) for _ in range(2)]
    asked = [parse_qs(urlsplit(url).query) for url in urls]
    assert all(url.startswith("http://127.0.0.1:9300/authorize?") for url in urls)
    assert all(q["code_challenge_method"] == ["S256"] for q in asked)
    assert all(q["redirect_uri"] == ["http://localhost:8080/oauth/callback"] for q in asked)
    for name in ("state", "code_challenge"):
        values = [q[name][0] for q in asked]
        assert len(set(values)) == 2
        assert min(map(len, values)) >= 43
    kept = repr([row.model_dump() for row in await rows(Visit) + await rows(AuthSession)])
    assert not any(q["state"][0] in kept for q in asked), "only the hash of a state is kept"
    assert not any(cookie in kept for cookie in browser.http.cookies.values()), "only the hash of a cookie is kept"


async def test_where_the_config_confirms_every_person_afterwards_the_link_goes_straight_on(
    app_config: Any, opened: Any, browser: Any, page: Any
) -> None:
    await app_config(verify_user=True)
    for by in (page, None):
        session = await opened(by=by)
        answer = await browser.http.get(session["authorization_url"])
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("http://127.0.0.1:9300/authorize?")


async def test_a_confirmation_demanded_only_later_does_not_take_the_page_away(
    client: httpx.AsyncClient, config: Any, opened: Any, browser: Any
) -> None:
    """This session was opened without it, so nobody will confirm it."""
    session = await opened()
    await client.patch(f"/api/provider-configs/{config.id}", json={"verify_user": True})
    assert (await browser.http.get(session["authorization_url"])).status_code == 200


async def test_the_way_on_stands_before_the_list_of_rights_which_opens_without_a_script(
    config: Any, opened: Any, browser: Any
) -> None:
    shown = (await browser.http.get((await opened())["authorization_url"])).text
    places = [shown.index(text) for text in ('class="notice"', 'class="button"', "<details>", "<summary>", "<li>")]
    assert places == sorted(places)


async def test_being_asked_for_while_away_is_said_for_a_person(config: Any, opened: Any, browser: Any) -> None:
    said = words(await browser.http.get((await opened())["authorization_url"]))
    assert "while you are away" in said
    assert "token" not in said


async def test_on_plain_loopback_the_cookie_is_httponly_and_lax(config: Any, opened: Any, browser: Any) -> None:
    answer = await browser.http.get((await opened())["authorization_url"])
    (cookie,) = answer.headers.get_list("set-cookie")
    assert re.fullmatch(
        r"authpipe-visit_[a-z2-7]{26}=[\w-]{43}; HttpOnly; Max-Age=7200; Path=/; SameSite=lax", cookie
    ), cookie


class TestPatience:
    """With more time for the steps after the callback."""

    @pytest.fixture
    def deps(self, deps: ApiDeps) -> ApiDeps:
        return replace(deps, selection_life=timedelta(hours=24), verification_life=timedelta(hours=12))

    async def test_the_cookie_outlives_the_choice_of_a_site_and_the_confirmation(
        self, config: Any, opened: Any, browser: Any
    ) -> None:
        answer = await browser.http.get((await opened())["authorization_url"])
        (cookie,) = answer.headers.get_list("set-cookie")
        (seconds,) = re.findall(r"Max-Age=(\d+)", cookie)
        assert timedelta(seconds=int(seconds)) > timedelta(minutes=15) + timedelta(hours=24 + 12)


@pytest.mark.parametrize("redirect", [TLS, TLS.replace("https", "HTTPS")])
async def test_under_tls_the_cookie_is_bound_to_the_host(
    app_config: Any, opened: Any, browser: Any, redirect: str
) -> None:
    await app_config(oauth_redirect_url=redirect)
    session = await opened(redirect_url="https://app.example.com/done")
    assert session["authorization_url"].lower().startswith("https://app.example.com/oauth/visit/")
    answer = await browser.http.get(session["authorization_url"])
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-authpipe-visit_")
    attributes = {part.strip().split("=")[0].lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "max-age", "path", "samesite", "secure"}, "no Domain, or browsers drop it"


async def test_under_tls_the_whole_way_works_and_the_cookie_goes(app_config: Any, opened: Any, browser: Any) -> None:
    await app_config(oauth_redirect_url=TLS)
    session = await opened(redirect_url="https://app.example.com/done")
    callback = await browser.consent(session["authorization_url"])
    answer = await browser.http.get(callback)
    assert answer.status_code == 303
    (cookie,) = answer.headers.get_list("set-cookie")
    assert "Max-Age=0" in cookie
    assert "Secure" in cookie
    assert not browser.http.cookies


async def test_link_scanners_spoil_nothing(config: Any, opened: Any, browser: Any, new_browser: Any) -> None:
    session = await opened()
    link = session["authorization_url"]
    callback = await browser.consent(link)
    for _ in range(3):
        await new_browser().open(link)
    assert (await browser.http.head(link)).status_code == 405
    answer = await browser.http.get(callback)
    assert "status=completed" in answer.headers["location"]


async def test_visits_are_bounded(
    config: Any, opened: Any, browser: Any, monkeypatch: pytest.MonkeyPatch, rows: Any
) -> None:
    monkeypatch.setattr(sessions, "MAX_VISITS", 2)
    link = (await opened())["authorization_url"]
    callback = await browser.consent(link)
    await browser.open(link)
    assert page_code(await browser.http.get(link)) == (429, "too_many_visits")
    assert len(await rows(Visit)) == 2
    assert (await browser.http.get(callback)).status_code == 303, "an open tab still finishes"


async def test_a_link_that_leads_nowhere_still_says_whose_it_is(
    app_config: Any, opened: Any, browser: Any, clock: Any
) -> None:
    await app_config(display_name="Acme Tools")
    used, late = (await opened())["authorization_url"], (await opened(label="late"))["authorization_url"]
    await browser.walk(used)
    assert words(await browser.http.get(used)).startswith("A Acme Tools")
    clock.advance(minutes=15)
    answer = await browser.http.get(late)
    assert (heading(answer), words(answer)[:12]) == ("This link has expired", "A Acme Tools")


@pytest.mark.parametrize(
    "path", ["sess_unknown", "%00", "..%2f..%2fetc", "%F0%9F%92%A5", "a" * 5000, "%ff", "<script>"]
)
async def test_an_unknown_link_gets_a_page(browser: Any, path: str) -> None:
    answer = await browser.http.get(f"/oauth/visit/{path}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text


async def test_a_used_link_says_so(config: Any, opened: Any, browser: Any) -> None:
    link = (await opened())["authorization_url"]
    await browser.walk(link)
    assert page_code(await browser.http.get(link)) == (409, "session_used")


async def test_an_expired_link_says_so(config: Any, opened: Any, browser: Any, clock: Any, rows: Any) -> None:
    link = (await opened())["authorization_url"]
    clock.advance(minutes=15)
    assert page_code(await browser.http.get(link)) == (410, "session_expired")
    assert await rows(Visit) == []


async def test_a_deleted_config_ends_its_links(
    client: httpx.AsyncClient, config: Any, opened: Any, browser: Any
) -> None:
    link = (await opened())["authorization_url"]
    assert (await client.delete(f"/api/provider-configs/{config.id}?cascade=true")).status_code == 204
    assert page_code(await browser.http.get(link)) == (404, "session_unknown")


async def test_a_program_gets_problem_json(browser: Any) -> None:
    answer = await browser.http.get("/oauth/visit/sess_unknown", headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (404, "session_unknown")
