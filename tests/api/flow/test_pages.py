"""Every page: no script, no third party, not framed, and whatever is shown on it is text."""

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

XSS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "' onmouseover='x", "</style><b>"]


def check_page(answer: httpx.Response) -> None:
    headers = answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert not {"script-src", "img-src", "connect-src"} & policy.keys()
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy["style-src"] == f"'sha256-{digest}'", "the page's own style must be the one allowed"
    assert "<script" not in answer.text.lower()
    assert not re.findall(r"\s(?:src|action|onclick|onerror|onmouseover)\s*=\s*[\"']", answer.text)
    assert re.findall(r"<link|<iframe|<form|@import", answer.text) == []


@pytest.mark.parametrize("path", ["/oauth/visit/sess_unknown", "/oauth/callback", "/oauth/callback?state=x&code=y"])
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
    check_page(answer)
    assert "c0de" not in answer.text
    assert "alert" not in answer.text


async def test_a_redirect_shows_nothing_and_is_not_kept(config: Any, opened: Any, browser: Any, page: Any) -> None:
    answer = await browser.http.get((await opened(by=page))["authorization_url"])
    assert answer.content == b""
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
