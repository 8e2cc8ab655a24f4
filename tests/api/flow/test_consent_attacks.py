"""Attacks on consent from end to end. Each piece of the defence has tests of its own beside.

A callback handed to a victim, a state or a callback sent again, a foreign issuer: `test_callback.py`. Framing:
`test_pages.py`. A message to a foreign origin, a stranger at the last page: `test_done.py`. A form from another
site: `test_sites_page.py`, `test_choosing.py`. A page of a foreign origin: `test_origins.py`.
"""

from typing import Any

import httpx
import pytest

from tests.api.flow.hosted import check_page, heading, refused_with, words
from vault.tables import AuthSession, Credential, Life

EVIL = (
    "https://evil.example/",
    "//evil.example/",
    "https://app.example.com@evil.example/",
    "http://localhost:8080\\@evil.example/",
    "http://localhost:8080.evil.example/",
    "javascript:alert(1)//http://localhost:8080/",
    "data:text/html,http://localhost:8080/",
)


async def test_a_page_that_names_a_foreign_tenant_connects_nothing_to_it(
    config: Any, page: httpx.AsyncClient, client: httpx.AsyncClient, opened: Any, browser: Any, rows: Any
) -> None:
    """Mallory's own account, in the name of a tenant that is not theirs: the builder's backend has the last word."""
    session = await opened(by=page, tenant_id="globex", user_id="mallory")
    assert (await browser.walk(session["authorization_url"]))["status"] == "pending_verification"
    signed_in = {"tenant_id": "acme", "user_id": "mallory"}
    answer = await client.post(f"/oauth/sessions/{session['session_id']}/complete", json=signed_in)
    assert (answer.status_code, answer.json()["code"]) == (409, "user_mismatch")
    assert [life.status for life in await rows(Life)] == ["pending"]
    wish = {"provider": "jira", "tenant_id": "globex"}
    assert (await client.post("/api/credentials", json=wish)).status_code == 404


async def test_a_victim_who_is_handed_my_link_is_told_whose_it_is_before_anything_happens(
    config: Any, opened: Any, new_browser: Any, session_row: Any, rows: Any
) -> None:
    """Mallory opens a session for themselves and sends the link on, to have the victim's account connected to them."""
    session = await opened(tenant_id="mallorys", user_id="mallory")
    victim = new_browser()
    shown = await victim.http.get(session["authorization_url"])
    check_page(shown)
    assert shown.status_code == 200, "no redirect: a person has to go on"
    assert "For the organisation mallorys By the user mallory" in words(shown)
    assert "someone else may have sent you the link" in words(shown)
    assert (await session_row(session["session_id"])).state == "pending"
    assert await rows(Credential) == []


async def test_a_victim_who_is_handed_a_link_opened_by_a_page_is_told_whose_it_is_before_the_provider(
    config: Any, page: httpx.AsyncClient, opened: Any, new_browser: Any, rows: Any
) -> None:
    """Mallory's own backend would confirm Mallory's own user: only the victim can notice, and only here."""
    session = await opened(by=page, tenant_id="mallory-corp", user_id="mallory")
    shown = await new_browser().http.get(session["authorization_url"])
    check_page(shown)
    assert shown.status_code == 200, "no redirect: a person has to go on"
    assert "For the organisation mallory-corp By the user mallory" in words(shown)
    assert "someone else may have sent you the link" in words(shown)
    assert await rows(Credential) == []


async def test_what_a_victim_granted_by_a_pages_link_serves_nobody_until_the_backend_says_whose_it_is(
    config: Any, page: httpx.AsyncClient, opened: Any, new_browser: Any, client: httpx.AsyncClient, rows: Any
) -> None:
    """A backend that confirms the person signed in there never names mallory for the victim."""
    session = await opened(by=page, user_id="mallory")
    assert (await new_browser().walk(session["authorization_url"]))["status"] == "pending_verification"
    victim = {"tenant_id": "acme", "user_id": "victim"}
    answer = await client.post(f"/oauth/sessions/{session['session_id']}/complete", json=victim)
    assert answer.json()["code"] == "user_mismatch"
    assert [life.status for life in await rows(Life)] == ["pending"]


async def test_a_state_is_good_for_one_callback_whatever_code_comes_with_it(
    config: Any, opened: Any, browser: Any, engine: Any, rows: Any
) -> None:
    """Somebody who learned the address later cannot swap in a code of their own, even in the same browser."""
    session = await opened(redirect_url=None)
    callback = httpx.URL(await browser.consent(session["authorization_url"]))
    assert (await browser.http.get(callback)).status_code == 303
    other = await browser.consent((await opened(label="mallorys"))["authorization_url"], person="member")
    stolen = httpx.URL(other).params["code"]
    for replayed in (callback, callback.copy_set_param("code", stolen)):
        assert refused_with(await browser.http.get(replayed)) == "session_used"
    assert engine.heard("returned") == 1
    assert len(await rows(Credential)) == 1


@pytest.mark.parametrize("url", EVIL)
async def test_no_redirect_leads_out_of_what_the_config_allows(
    config: Any, client: httpx.AsyncClient, page: httpx.AsyncClient, opening: Any, rows: Any, url: str
) -> None:
    for who in (client, page):
        answer = await who.post("/oauth/installs", json=opening(redirect_url=url))
        assert (answer.status_code, answer.json()["code"]) == (422, "redirect_url_not_allowed")
    assert await rows(AuthSession) == []


@pytest.mark.parametrize("url", EVIL)
async def test_our_own_pages_follow_no_address_that_they_are_given(
    config: Any, opened: Any, browser: Any, url: str
) -> None:
    """Neither the page at the end nor the form for a site, nor the callback, takes a target from its query."""
    given = dict.fromkeys(("redirect_url", "redirect_uri", "next", "url", "return_to", "opener_origin"), url)
    session = await opened(redirect_url=None)
    both = ["Acme Engineering", "Acme Support"]
    callback = await browser.consent(session["authorization_url"], sites=both)
    answer = await browser.http.get(httpx.URL(callback).copy_merge_params(given))
    sites = f"http://localhost:8080/oauth/sites/{session['session_id']}"
    assert answer.headers["location"] == sites
    for path in (sites, sites.replace("sites", "done")):
        shown = await browser.http.get(path, params=given)
        assert "evil" not in shown.text
        assert shown.headers.get("location", sites) == sites


async def test_the_page_that_refuses_names_no_way_on(browser: Any) -> None:
    """A made-up link to our origin is no stage for somebody else's words or addresses."""
    query = {"error": "x", "error_description": "Call 0800-EVIL", "redirect_url": "https://evil.example/"}
    for path in ("callback", "refused/session_used", "visit/sess_x", "done/sess_x", "sites/sess_x"):
        shown = await browser.http.get(f"/oauth/{path}", params=query, follow_redirects=True)
        check_page(shown)
        assert "EVIL" not in shown.text
        assert "evil" not in shown.text
        assert "href=" not in shown.text
        assert path != "callback" or shown.url.query == b""
        assert heading(shown)
