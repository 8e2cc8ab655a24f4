"""The page at the end: how it went, for the browser that made the consent; for anybody else, nothing."""

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.api.flow.hosted import check_page, heading, path_of, script_data, words
from vault.tables import AuthSession, Life

BUILDER = "https://app.example.com"
XSS = ["<script>alert(1)</script>", "</script><script>alert(1)</script>", "' onmouseover='x", '"-alert(1)-"', "*"]


@pytest.fixture
def ending(opened: Any, browser: Any) -> Any:
    """`await ending(allow=False)`: the id and the last page of a session opened without a redirect_url."""

    async def end(what: str = "installs", decision: Any = None, **changes: Any) -> tuple[str, httpx.Response]:
        session = await opened(what, **({"redirect_url": None} | changes))
        answer = await browser.http.get(await browser.consent(session["authorization_url"], **(decision or {})))
        assert answer.headers["location"] == f"http://localhost:8080/oauth/done/{session['session_id']}"
        return session["session_id"], await browser.http.get(answer.headers["location"])

    return end


async def test_without_a_redirect_url_the_browser_ends_on_our_page(
    app_config: Any, ending: Any, new_browser: Any
) -> None:
    await app_config(display_name="Acme Tools")
    _, page = await ending()
    check_page(page, script=True)
    assert (page.status_code, heading(page)) == (200, "Installed")
    assert "Acme Tools is installed in Jira." in words(page)
    assert "Organisation acme" in words(page)
    assert "Site at Jira Acme Engineering" in words(page)


async def test_a_program_is_answered_with_the_address_of_that_page(config: Any, opened: Any, browser: Any) -> None:
    session = await opened(redirect_url=None)
    callback = await browser.consent(session["authorization_url"])
    answer = await browser.http.get(callback, headers={"accept": "application/json"})
    assert answer.json() == {"redirect_url": f"http://localhost:8080/oauth/done/{session['session_id']}"}


async def test_a_connection_is_told_from_an_installation(installation: str, ending: Any) -> None:
    _, page = await ending("sessions", {"person": "member"}, user_id="ann")
    assert heading(page) == "Connected"
    assert "User ann" in words(page)


async def test_the_page_can_be_loaded_again_while_the_cookie_lasts(config: Any, ending: Any, browser: Any) -> None:
    session_id, page = await ending()
    again = await browser.http.get(f"/oauth/done/{session_id}")
    assert words(again) == words(page)


async def test_the_done_page_of_somebody_elses_session_shows_nothing(
    config: Any, ending: Any, new_browser: Any
) -> None:
    """And what it shows of a session is what it shows of none."""
    session_id, _ = await ending(user_id="ann")
    stranger = new_browser()
    theirs = await stranger.http.get(f"/oauth/done/{session_id}")
    check_page(theirs)
    assert theirs.status_code == 404
    nobodys = await stranger.http.get("/oauth/done/sess_aaaaaaaaaaaaaaaaaaaaaaaaaa")
    assert (theirs.status_code, theirs.text) == (nobodys.status_code, nobodys.text)
    assert "set-cookie" not in theirs.headers


async def test_a_visit_that_did_not_bring_the_consent_sees_nothing_either(
    config: Any, opened: Any, browser: Any, new_browser: Any
) -> None:
    session = await opened(redirect_url=None)
    other = new_browser()
    await other.open(session["authorization_url"])
    await browser.http.get(await browser.consent(session["authorization_url"]))
    assert heading(await other.http.get(f"/oauth/done/{session['session_id']}")) == "Nothing to see here"


@pytest.mark.parametrize("path", ["done/%00", "done/x%2fy", "done/" + "x" * 3000, "sites/%ff", "sites/..%2fdone"])
async def test_an_id_that_cannot_be_one_gets_a_page(browser: Any, path: str) -> None:
    answer = await browser.http.get(f"/oauth/{path}")
    assert answer.status_code == 404


async def test_a_denial_says_so_and_what_to_do(config: Any, ending: Any) -> None:
    _, page = await ending(decision={"allow": False})
    assert (heading(page), page.status_code) == ("You did not agree", 200)
    assert "start again from localhost" in words(page)
    assert "access_denied" in words(page)


async def test_a_code_the_provider_made_up_gets_the_general_text(config: Any, opened: Any, browser: Any) -> None:
    session = await opened(redirect_url=None)
    callback = await browser.consent(session["authorization_url"], allow=False)
    await browser.http.get(callback.replace("access_denied", "made_up.by-them"))
    page = await browser.http.get(f"/oauth/done/{session['session_id']}")
    assert heading(page) == "Jira reported a problem"
    assert "made_up.by-them" in words(page)


async def test_the_wrong_site_is_told_with_the_one_expected(installation: str, ending: Any) -> None:
    _, page = await ending("sessions", {"person": "admin", "sites": ["Acme Support"]}, user_id="ann")
    assert heading(page) == "Another site was expected"
    assert "Expected site Acme Engineering" in words(page)


async def test_the_wrong_account_is_told_with_the_one_expected(
    installation: str, opened: Any, browser: Any, ending: Any, rows: Any
) -> None:
    first = await opened("sessions", user_id="ann")
    assert (await browser.walk(first["authorization_url"], person="member"))["status"] == "completed"
    (life,) = [life for life in await rows(Life) if life.kind == "connection"]
    _, page = await ending("sessions", {"person": "admin"}, user_id="ann")
    assert heading(page) == "Another account was expected"
    said = f"Expected account the one that connected this before (its id there: {life.account_id})"
    assert said in words(page)


async def test_a_second_installation_on_a_site_is_told_with_the_sites_name(
    installation: str, ending: Any, session_row: Any
) -> None:
    session_id, page = await ending(label="again")
    assert heading(page) == "It is installed already"
    assert "Installed on Acme Engineering" in words(page)
    assert (await session_row(session_id)).expected == installation
    assert installation not in page.text


async def test_a_page_that_names_a_foreign_tenant_does_not_learn_what_is_there(
    installation: str, page: httpx.AsyncClient, opened: Any, browser: Any
) -> None:
    """Law 6: with a publishable key anybody may name any tenant; what was expected there is not for them."""
    session = await opened("sessions", by=page, user_id="ann", redirect_url=None)
    callback = await browser.consent(session["authorization_url"], sites=["Acme Support"])
    await browser.http.get(callback)
    answer = await browser.http.get(f"/oauth/done/{session['session_id']}")
    assert heading(answer) == "Another site was expected"
    assert "Acme Engineering" not in answer.text


async def test_a_consent_that_waits_for_confirmation_says_who_has_to_confirm(
    app_config: Any, page: httpx.AsyncClient, opened: Any, browser: Any
) -> None:
    await app_config(display_name="Acme Tools")
    session = await opened(by=page, redirect_url=None)
    await browser.http.get(await browser.consent(session["authorization_url"]))
    answer = await browser.http.get(f"/oauth/done/{session['session_id']}")
    assert heading(answer) == "Waiting for confirmation"
    assert "Acme Tools now has to confirm that it was you." in words(answer)
    assert "Acme Engineering" not in answer.text


async def test_an_exchange_that_takes_long_is_looked_at_again_without_a_script(
    config: Any, ending: Any, engine: Any, browser: Any, session_row: Any, db: Any
) -> None:
    engine.idle = True
    session_id, page = await ending()
    check_page(page)
    assert (heading(page), page.headers["refresh"]) == ("One moment", "2")
    engine.idle = False
    row = await session_row(session_id)
    async with db.reading() as tx:
        life = await tx.get(Life, row.life_id)
    await engine.returned(life, session_id)
    later = await browser.http.get(f"/oauth/done/{session_id}")
    assert heading(later) == "Installed"
    assert "refresh" not in later.headers


async def test_a_choice_that_is_still_to_be_made_leads_back_to_it(config: Any, opened: Any, browser: Any) -> None:
    session = await opened(redirect_url=None)
    await browser.walk(session["authorization_url"], sites=["Acme Engineering", "Acme Support"])
    answer = await browser.http.get(f"/oauth/done/{session['session_id']}")
    assert path_of(answer) == f"/oauth/sites/{session['session_id']}"


class TestTheMessageToTheOpener:
    @pytest.fixture
    def told(self, app_config: Any, page: httpx.AsyncClient, opening: Any, browser: Any) -> Any:
        """What the page at the end would tell, for a session that a page of this origin opened."""

        async def walk(origin: str) -> httpx.Response:
            await app_config(allowed_redirect_urls=[f"{BUILDER}/done"])
            headers = {"origin": origin} if origin else {}
            session = (await page.post("/oauth/installs", json=opening(redirect_url=None), headers=headers)).json()
            await browser.http.get(await browser.consent(session["authorization_url"]))
            answer: httpx.Response = await browser.http.get(f"/oauth/done/{session['session_id']}")
            return answer

        return walk

    async def test_it_goes_to_the_recorded_origin_and_no_other(self, told: Any, rows: Any) -> None:
        answer = await told(BUILDER)
        (session,) = await rows(AuthSession)
        assert script_data(answer) == {"session": session.id, "opener": BUILDER, "close-after": "2000"}

    async def test_what_failed_stays_to_be_read(self, told: Any, rows: Any, change: Any, browser: Any) -> None:
        await told(BUILDER)
        (session,) = await rows(AuthSession)
        await change(AuthSession, session.id, state="failed", reason="no_site")
        answer = await browser.http.get(f"/oauth/done/{session.id}")
        assert script_data(answer)["close-after"] == ""
        assert "if (said.closeAfter) setTimeout" in answer.text

    async def test_where_none_is_recorded_nothing_is_told(self, told: Any) -> None:
        answer = await told("")
        check_page(answer, script=True)
        assert script_data(answer)["opener"] == ""
        assert "if (!window.opener || !said.opener) return;" in answer.text

    async def test_the_script_names_no_other_target_and_sends_nothing_but_the_session(self, told: Any) -> None:
        (script,) = re.findall(r"<script\b[^>]*>(.*?)</script>", (await told(BUILDER)).text, re.DOTALL)
        (sent,) = re.findall(r"postMessage\((.*)\);", script)
        assert sent == '{ type: "authpipe:done", session_id: said.session }, said.opener'
        assert '"*"' not in script

    @pytest.mark.parametrize("hostile", XSS)
    async def test_what_is_recorded_cannot_break_out_of_the_page(
        self, told: Any, change: Any, rows: Any, browser: Any, hostile: str
    ) -> None:
        """Even if a row were planted: the page has one script, ours, and its data stay data."""
        await told(BUILDER)
        (session,) = await rows(AuthSession)
        await change(AuthSession, session.id, opener_origin=hostile, tenant_id=hostile, reason=hostile, state="failed")
        answer = await browser.http.get(f"/oauth/done/{session.id}")
        check_page(answer, script=True)
        assert script_data(answer)["opener"] == hostile
        assert hostile == "*" or hostile not in answer.text
        assert (
            f"<strong>{html.escape(hostile)}</strong>".replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
            in answer.text
        )


async def test_the_builders_page_gets_the_outcome_and_the_cookie_goes(config: Any, opened: Any, browser: Any) -> None:
    session = await opened()
    answer = await browser.http.get(await browser.consent(session["authorization_url"]))
    parts = urlsplit(answer.headers["location"])
    assert parts.path == "/done"
    assert set(parse_qs(parts.query)) == {"session_id", "status", "installation_id"}
    assert not browser.http.cookies
