"""Choosing a site by a plain form: in the browser that gave the consent, on our own page, once."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.api.flow.hosted import check_page, form_of, heading, page_code, path_of, policy_of, words
from vault.tables import Life

BOTH = ["Acme Engineering", "Acme Support"]
OURS = "http://localhost:8080"


@pytest.fixture
def asking(opened: Any, browser: Any) -> Any:
    """`await asking()`: the path of the page that asks for a site, and the page."""

    async def walk(**changes: Any) -> tuple[str, httpx.Response]:
        session = await opened(**changes)
        answer = await browser.http.get(await browser.consent(session["authorization_url"], sites=BOTH))
        path = f"/oauth/sites/{session['session_id']}"
        assert answer.headers["location"] == OURS + path
        return path, await browser.http.get(path)

    return walk


@pytest.fixture
async def asked(config: Any, asking: Any) -> tuple[str, str, dict[str, str]]:
    """Path, form token and sites of a session that ends on the builder's page."""
    path, page = await asking()
    return path, *form_of(page)


def sent(token: str, site: str) -> dict[str, str]:
    return {"form": token, "site": site}


async def test_the_page_names_the_sites_and_chooses_none(app_config: Any, asking: Any) -> None:
    await app_config(display_name="Acme Tools")
    _, page = await asking()
    check_page(page, form="'self' http://localhost:8080")
    _, sites = form_of(page)
    assert set(sites) == set(BOTH)
    assert "checked" not in page.text.replace(":checked", "")
    assert "Acme Tools is connected to one of them, for the organisation acme" in words(page)
    assert "<fieldset" in page.text
    assert "<legend>" in page.text


async def test_the_chosen_site_is_bound_and_the_browser_goes_on_to_the_builder(
    asked: Any, browser: Any, rows: Any
) -> None:
    path, token, sites = asked
    answer = await browser.http.post(path, data=sent(token, sites["Acme Support"]))
    assert path_of(answer) == "/done"
    said = parse_qs(urlsplit(answer.headers["location"]).query)
    assert said["status"] == ["completed"]
    (life,) = await rows(Life)
    assert (life.id, life.site_name) == (said["installation_id"][0], "Acme Support")
    assert not browser.http.cookies, "the browser is done with us"


async def test_without_a_redirect_url_it_ends_on_our_page(config: Any, asking: Any, browser: Any) -> None:
    path, page = await asking(redirect_url=None)
    check_page(page, form="'self'")
    token, sites = form_of(page)
    answer = await browser.http.post(path, data=sent(token, sites["Acme Support"]))
    assert path_of(answer) == path.replace("sites", "done")
    assert "Site at Jira Acme Support" in words(await browser.http.get(answer.headers["location"]))


async def test_the_form_leads_nowhere_but_to_us_and_the_allowed_redirect_url(
    app_config: Any, asking: Any, opened: Any
) -> None:
    await app_config(allowed_redirect_urls=["https://app.example.com/done"])
    _, page = await asking(redirect_url="https://app.example.com/done")
    assert policy_of(page)["form-action"] == "'self' https://app.example.com"


async def test_a_form_from_another_page_chooses_nothing(asked: Any, browser: Any, session_row: Any) -> None:
    """A browser that sends our cookie along all the same: the form still has to be one that we rendered."""
    path, token, sites = asked
    site = sites["Acme Support"]
    cross = {"sec-fetch-site": "cross-site"}
    for data, headers in (
        ({"site": site}, {}),
        (sent("", site), {}),
        (sent("0" * 64, site), {}),
        (sent("é", site), {}),
        (sent(token, site), cross),
        (sent(token, site), {"sec-fetch-site": "same-site"}),
        (sent(token, site), {"origin": "https://evil.example"}),
        (sent(token, site), {"origin": "http://localhost:8081"}),
    ):
        assert page_code(await browser.http.post(path, data=data, headers=headers)) == (403, "cross_site_form"), data
    assert (await session_row(path.rpartition("/")[2])).chosen_site_id == ""


@pytest.mark.parametrize(
    "headers", [{}, {"origin": OURS, "sec-fetch-site": "same-origin"}, {"origin": "null", "sec-fetch-site": "none"}]
)
async def test_our_own_form_is_taken_however_the_browser_names_itself(
    asked: Any, browser: Any, headers: dict[str, str]
) -> None:
    path, token, sites = asked
    answer = await browser.http.post(path, data=sent(token, sites["Acme Support"]), headers=headers)
    assert path_of(answer) == "/done"


async def test_the_form_of_one_session_does_not_choose_for_another(config: Any, asking: Any, browser: Any) -> None:
    (_, first), (path, second) = await asking(), await asking(label="second")
    token, sites = form_of(first)[0], form_of(second)[1]
    answer = await browser.http.post(path, data=sent(token, sites["Acme Support"]))
    assert page_code(answer) == (403, "cross_site_form")


async def test_another_browser_sees_no_site_and_chooses_none(asked: Any, new_browser: Any, session_row: Any) -> None:
    path, token, sites = asked
    other = new_browser()
    for answer in (
        await other.http.get(path),
        await other.http.post(path, data=sent(token, sites["Acme Support"])),
    ):
        check_page(answer)
        assert heading(answer) == "Nothing to see here"
        assert "Acme" not in answer.text
    assert (await session_row(path.rpartition("/")[2])).chosen_site_id == ""


@pytest.mark.parametrize("site", ["", "other", "<script>alert(1)</script>"])
async def test_who_chooses_none_of_them_is_asked_again(asked: Any, browser: Any, site: str) -> None:
    path, token, sites = asked
    answer = await browser.http.post(path, data=sent(token, site))
    assert answer.status_code == 422
    check_page(answer, form="'self' http://localhost:8080")
    assert 'role="alert"' in answer.text
    assert "alert(1)" not in answer.text
    assert path_of(await browser.http.post(path, data=sent(token, sites["Acme Support"]))) == "/done"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"form=x&site=y", "text/plain"),
        (b'{"form": "x"}', "application/json"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"a=1&" * 100, "application/x-www-form-urlencoded"),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"", ""),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(asked: Any, browser: Any, content: bytes, kind: str) -> None:
    answer = await browser.http.post(asked[0], content=content, headers={"content-type": kind})
    assert page_code(answer) == (403, "cross_site_form")


async def test_the_back_button_and_a_second_click_lead_on_and_choose_nothing_more(
    config: Any, asking: Any, browser: Any, session_row: Any
) -> None:
    path, page = await asking(redirect_url=None)
    token, sites = form_of(page)
    done = path.replace("sites", "done")
    assert path_of(await browser.http.post(path, data=sent(token, sites["Acme Support"]))) == done
    assert path_of(await browser.http.post(path, data=sent(token, sites["Acme Engineering"]))) == done
    assert path_of(await browser.http.get(path)) == done
    assert (await session_row(path.rpartition("/")[2])).chosen_site_id == sites["Acme Support"]


async def test_a_choice_that_the_engine_did_not_hear_waits_on_our_page(
    config: Any, asking: Any, browser: Any, engine: Any
) -> None:
    path, page = await asking(redirect_url=None)
    token, sites = form_of(page)
    engine.away = True
    answer = await browser.http.post(path, data=sent(token, sites["Acme Support"]))
    waiting = await browser.http.get(answer.headers["location"])
    assert heading(waiting) == "One moment"
    assert browser.http.cookies


async def test_the_time_to_choose_ends(asked: Any, browser: Any, clock: Any) -> None:
    path, token, sites = asked
    clock.advance(hours=1)
    assert page_code(await browser.http.get(path)) == (410, "session_expired")
    assert page_code(await browser.http.post(path, data=sent(token, sites["Acme Support"])))[0] in (409, 410)


async def test_names_of_sites_are_text(asked: Any, browser: Any, change: Any) -> None:
    from vault.tables import AuthSession

    hostile = '"><script>alert(1)</script>'
    site = {"id": hostile, "name": hostile, "url": "javascript:alert(1)"}
    await change(AuthSession, asked[0].rpartition("/")[2], sites=[site, site | {"id": "2"}])
    page = await browser.http.get(asked[0])
    check_page(page, form="'self' http://localhost:8080")
    assert hostile not in page.text
    assert 'href="javascript' not in page.text


async def test_the_outcome_names_the_page_while_a_choice_is_awaited(
    asked: Any, page: httpx.AsyncClient, browser: Any
) -> None:
    path, token, sites = asked
    session_id = path.rpartition("/")[2]
    assert (await page.get(f"/oauth/sessions/{session_id}")).json()["selection_url"] == OURS + path
    await browser.http.post(path, data=sent(token, sites["Acme Support"]))
    assert "selection_url" not in (await page.get(f"/oauth/sessions/{session_id}")).json()
