"""A callback that is refused: the address bar is left clean, and a page of ours says what happened and what to do."""

import ast
from pathlib import Path
from typing import Any

import pytest

from api import callback as product
from api.outcomes import words_of_refusal
from domain.errors import CODES
from tests.api.flow.hosted import check_page, heading, refused_with, words
from vault import sessions
from vault.tables import AuthSession, Credential, TokenAttempt, Visit

# What a callback may meet beside what it says itself: the vault away, a seal that does not open, an error of ours.
FORESEEN = {"database_unavailable", "seal_broken", "internal"}
JSON = {"accept": "application/json"}


def raised() -> set[str]:
    """Every code that the callback itself refuses with."""
    problems = [
        node
        for node in ast.walk(ast.parse(Path(product.__file__).read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem"
    ]
    texts = [part for node in problems for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
    return {text.value for text in texts if text.value in CODES}


REFUSALS = sorted(raised() | FORESEEN)


def test_the_search_finds_what_is_known_to_be_there() -> None:
    assert raised() >= {"state_unknown", "wrong_browser", "foreign_issuer", "session_used", "session_expired"}


@pytest.mark.parametrize("code", REFUSALS)
async def test_every_refusal_has_a_page_that_says_what_happened_and_what_to_do(browser: Any, code: str) -> None:
    said = words_of_refusal(code)
    assert said, code
    answer = await browser.http.get(f"/oauth/refused/{code}")
    check_page(answer)
    assert answer.status_code == 200
    assert heading(answer) == CODES[code].title == said.title
    for sentence in (said.happened, said.remedy):
        assert sentence.endswith(".")
        assert sentence in words(answer)
    assert code in words(answer)


@pytest.mark.parametrize("code", ["unauthenticated", "nothing", "x" * 2000, "%3Cscript%3Ealert(1)", "%00", "%ff"])
async def test_any_other_address_there_shows_nothing_of_itself(browser: Any, code: str) -> None:
    answer = await browser.http.get(f"/oauth/refused/{code}")
    check_page(answer)
    assert answer.status_code == 404
    assert heading(answer) == "Nothing to see here"
    assert not {code, "alert", "unauthenticated"} & set(words(answer).split())


async def test_what_an_error_of_ours_says_reaches_neither_the_address_nor_the_page(
    config: Any, opened: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer of a callback stays at the callback's address, whatever it is that hindered it."""
    callback = await browser.consent((await opened())["authorization_url"])

    async def broken(*_: Any) -> None:
        raise RuntimeError("canary")

    with monkeypatch.context() as patched:
        patched.setattr(sessions, "find_visit", broken)
        answer = await browser.http.get(callback)
        assert refused_with(answer) == "internal"
        assert "canary" not in str(answer.headers)
        told = await browser.http.get(callback, headers=JSON)
        assert (told.status_code, told.json()["code"]) == (500, "internal")
        assert "canary" not in told.text
    assert (await browser.http.get(callback)).headers["location"].startswith("http://localhost:8080/done?")


async def test_a_refusal_that_has_no_words_for_people_leads_to_the_general_ones(
    config: Any, opened: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(*_: Any) -> None:
        raise product.Problem("ambiguous")

    monkeypatch.setattr(sessions, "find_visit", odd)
    callback = await browser.consent((await opened())["authorization_url"])
    assert refused_with(await browser.http.get(callback)) == "internal"
    assert (await browser.http.get(callback, headers=JSON)).json()["code"] == "ambiguous"


async def test_the_way_to_the_page_stays_on_the_origin_that_was_asked(browser: Any) -> None:
    forged = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    answer = await browser.http.get("/oauth/callback?state=x&code=y", headers=forged)
    assert answer.headers["location"] == "/oauth/refused/state_unknown"


async def test_a_tab_that_comes_after_a_denial_in_another_is_told_so_and_connects_nothing(
    config: Any, opened: Any, browser: Any, rows: Any, engine: Any
) -> None:
    link = (await opened())["authorization_url"]
    agreed, denied = await browser.consent(link), await browser.consent(link, allow=False)
    assert (await browser.http.get(denied)).status_code == 303
    assert refused_with(await browser.http.get(agreed)) == "session_used"
    assert engine.heard("returned") == 0
    assert await rows(Credential) == []
    assert [visit.sealed_verifier for visit in await rows(Visit)] == [None, None]


async def test_a_tab_whose_attempt_ended_meanwhile_by_time_is_told_so(
    config: Any, opened: Any, browser: Any, rows: Any, db: Any, clock: Any
) -> None:
    callback = await browser.consent((await opened())["authorization_url"])
    (session,) = await rows(AuthSession)
    async with db.transaction() as tx:
        assert await sessions.finish(tx, session, clock.advance(minutes=15), reason="expired")
    assert refused_with(await browser.http.get(callback)) == "session_expired"


async def test_the_code_of_a_tab_that_lost_never_reaches_an_exchange(
    config: Any, opened: Any, browser: Any, rows: Any, engine: Any
) -> None:
    link = (await opened())["authorization_url"]
    callbacks = [await browser.consent(link) for _ in range(3)]
    await browser.http.get(callbacks[1])
    (before,) = await rows(Credential)
    for callback in callbacks:
        assert refused_with(await browser.http.get(callback)) in ("session_used", "wrong_browser")
    (after,) = await rows(Credential)
    assert (after.generation, after.sealed_access) == (before.generation, before.sealed_access)
    assert engine.heard("returned") == len(await rows(TokenAttempt)) == 1
    (row,) = await rows(AuthSession)
    assert (row.sealed_code, row.state) == (None, "completed")
