"""Every page: no foreign script, no third party, not framed, and whatever is shown on it is text."""

import re
from typing import Any

import pytest

from tests.api.flow.hosted import check_page, refused_with

XSS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "' onmouseover='x", "</style><b>"]


REFUSALS = [
    "/oauth/visit/sess_x",
    "/oauth/refused/session_used",
    "/oauth/refused/x",
    "/oauth/done/x",
    "/oauth/sites/%00",
]


@pytest.mark.parametrize("path", REFUSALS)
async def test_a_refusal_has_every_header(browser: Any, path: str) -> None:
    check_page(await browser.http.get(path))


async def test_the_visit_page_has_every_header(config: Any, opened: Any, browser: Any) -> None:
    check_page(await browser.http.get((await opened())["authorization_url"]))


@pytest.mark.parametrize("text", XSS)
async def test_names_of_tenants_and_users_are_text(config: Any, opened: Any, browser: Any, text: str) -> None:
    session = await opened(tenant_id=text, user_id=text)
    answer = await browser.http.get(session["authorization_url"])
    check_page(answer)
    assert text not in answer.text.replace("{{ 7*7 }}", "" if "{" not in text else "{}")
    assert "49" not in re.sub(r"<style>.*</style>|href=\"[^\"]*\"", "", answer.text, flags=re.DOTALL)


async def test_the_query_of_a_callback_is_never_shown(browser: Any) -> None:
    answer = await browser.http.get("/oauth/callback", params={"state": XSS[0], "code": "c0de", "error": XSS[1]})
    assert refused_with(answer) == "state_unknown"
    shown = await browser.http.get(answer.headers["location"])
    check_page(shown)
    assert "c0de" not in shown.text
    assert "alert" not in shown.text


async def test_a_redirect_shows_nothing_and_is_not_kept(app_config: Any, opened: Any, browser: Any) -> None:
    await app_config(verify_user=True)
    answer = await browser.http.get((await opened())["authorization_url"])
    assert answer.content == b""
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
