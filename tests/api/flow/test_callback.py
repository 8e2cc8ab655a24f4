"""The provider sends the browser back: right cookie, right state, right issuer, once; and nothing is lost."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from tests.api.flow.hosted import page_code, refused_with
from vault import sessions
from vault.tables import AuthSession, Credential, Life, Visit


@pytest.fixture(params=["sqlite", "postgresql"])
def either_database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


def with_changes(url: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})).geturl()


def said(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 303, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


@pytest.fixture
async def session(config: Any, opened: Any) -> dict[str, Any]:
    made: dict[str, Any] = await opened()
    return made


@pytest.fixture
async def callback(session: dict[str, Any], browser: Any) -> str:
    """A good callback URL that the browser has not followed yet."""
    url: str = await browser.consent(session["authorization_url"])
    return url


async def test_a_good_callback_goes_on_with_303_and_without_the_code(
    browser: Any, session: dict[str, Any], callback: str
) -> None:
    code = dict(parse_qsl(urlsplit(callback).query))["code"]
    answer = await browser.http.get(callback)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("http://localhost:8080/done?")
    assert code not in answer.headers["location"]
    assert code not in answer.text
    assert set(said(answer)) == {"session_id", "status", "installation_id"}
    assert said(answer)["session_id"] == session["session_id"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_who_asks_for_json_gets_the_contracts_answer(browser: Any, callback: str) -> None:
    answer = await browser.http.get(callback, headers={"accept": "application/json"})
    assert answer.status_code == 200
    (url,) = answer.json().values()
    assert list(answer.json()) == ["redirect_url"]
    assert url.startswith("http://localhost:8080/done?")
    assert "code=" not in url


async def test_our_values_replace_those_of_the_same_name_in_the_redirect_url(
    config: Any, opened: Any, browser: Any
) -> None:
    planted = "http://localhost:8080/done?status=completed&connection_id=forged&keep=%C3%A9&installation_id=forged#here"
    session = await opened(redirect_url=planted)
    answer = await browser.http.get(await browser.consent(session["authorization_url"], allow=False))
    assert answer.headers["location"].endswith("#here")
    assert said(answer)["status"] == "failed"
    assert said(answer)["keep"] == "é"


CHANGES = [
    ({"state": None}, 400, "state_unknown"),
    ({"state": ""}, 400, "state_unknown"),
    ({"state": "wrong"}, 400, "state_unknown"),
    ({"state": "\x00"}, 400, "state_unknown"),
    ({"state": "\ud7ff\U0010ffff"}, 400, "state_unknown"),
    ({"state": "s" * 50_000}, 400, "state_unknown"),
    ({"code": "c" * 50_000}, 400, "state_unknown"),
    ({"error": "e" * 50_000}, 400, "state_unknown"),
    ({"iss": "https://evil.example"}, 403, "foreign_issuer"),
    ({"iss": ""}, 403, "foreign_issuer"),
    ({"iss": "http://127.0.0.1:9300.evil.example"}, 403, "foreign_issuer"),
    ({"iss": "http://127.0.0.1:9301"}, 403, "foreign_issuer"),
]


@pytest.mark.parametrize(("changes", "status", "code"), CHANGES)
async def test_a_forged_callback_gets_a_page_and_spoils_nothing(
    browser: Any, callback: str, changes: dict[str, str | None], status: int, code: str
) -> None:
    forged = with_changes(callback, **changes)
    assert refused_with(await browser.http.get(forged)) == code
    answer = await browser.http.get(forged, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert said(await browser.http.get(callback))["status"] == "completed"


@pytest.mark.parametrize("name", ["state", "code", "iss", "error"])
async def test_a_repeated_parameter_is_refused_and_spoils_nothing(browser: Any, callback: str, name: str) -> None:
    repeated = f"{callback}&{name}=first&{name}=second"
    assert refused_with(await browser.http.get(repeated)) == "state_unknown"
    assert said(await browser.http.get(callback))["status"] == "completed"


async def test_a_program_gets_the_same_refusal_as_problem_json(browser: Any, callback: str) -> None:
    url = with_changes(callback, state="wrong")
    answer = await browser.http.get(url, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "state_unknown")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "code=" not in answer.text


async def test_law_06_another_browser_cannot_finish_and_does_not_spoil(
    new_browser: Any, browser: Any, callback: str, session_row: Any, session: dict[str, Any]
) -> None:
    assert refused_with(await new_browser().http.get(callback)) == "wrong_browser"
    assert (await session_row(session["session_id"])).state == "pending"
    assert said(await browser.http.get(callback))["status"] == "completed"


async def test_a_cookie_of_another_visit_does_not_open_this_one(
    new_browser: Any, browser: Any, session: dict[str, Any], callback: str
) -> None:
    """Law 6: whoever sends a victim the callback of a consent of their own is refused."""
    victim = new_browser()
    await victim.open(session["authorization_url"])
    assert refused_with(await victim.http.get(callback)) == "wrong_browser"


async def test_an_expired_session_takes_no_callback(browser: Any, callback: str, clock: Any, rows: Any) -> None:
    clock.advance(minutes=15)
    assert refused_with(await browser.http.get(callback)) == "session_expired"
    assert [life.status for life in await rows(Life)] == ["pending"]


async def test_a_callback_works_once(browser: Any, callback: str, rows: Any, engine: Any) -> None:
    cookies = dict(browser.http.cookies)
    assert said(await browser.http.get(callback))["status"] == "completed"
    assert not browser.http.cookies, "the cookie is dropped when the attempt is over"
    assert refused_with(await browser.http.get(callback)) == "wrong_browser"
    browser.http.cookies.update(cookies)
    assert refused_with(await browser.http.get(callback)) == "session_used"
    assert engine.heard("returned") == 1
    assert len(await rows(Credential)) == 1


async def test_a_denial_ends_the_attempt_with_the_providers_code(
    config: Any, opened: Any, browser: Any, engine: Any, rows: Any
) -> None:
    outcome = await browser.walk((await opened())["authorization_url"], allow=False)
    assert (outcome["status"], outcome["reason"]) == ("failed", "access_denied")
    assert engine.heard("returned") == 0
    assert [life.status for life in await rows(Life)] == ["pending"]
    assert [visit.sealed_verifier for visit in await rows(Visit)] == [None], "its verifier goes at once"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"code": None}, "code_missing"),
        ({"code": ""}, "code_missing"),
        ({"code": None, "error": ""}, "code_missing"),
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "<script>alert(1)</script>"}, "provider_error"),
        ({"error": "The user said no"}, "provider_error"),
        ({"error": "e" * 200}, "provider_error"),
    ],
)
async def test_an_answer_without_a_usable_code_fails_the_attempt_alone(
    browser: Any, callback: str, changes: dict[str, str | None], reason: str, rows: Any
) -> None:
    outcome = said(await browser.http.get(with_changes(callback, **changes)))
    assert (outcome["status"], outcome["reason"]) == ("failed", reason)
    assert await rows(Credential) == []


async def test_an_empty_error_beside_a_code_counts_as_left_out(browser: Any, callback: str) -> None:
    """RFC 6749 section 3.1."""
    assert said(await browser.http.get(f"{callback}&error="))["status"] == "completed"


@pytest.mark.parametrize("code", ["wrong", "c" * 8000, "\x00\r\n", "é\U0010ffff", "<script>"])
async def test_a_code_the_provider_did_not_give_fails_the_attempt_alone(
    browser: Any, callback: str, code: str, rows: Any, clock: Any
) -> None:
    outcome = said(await browser.http.get(with_changes(callback, code=code)))
    assert outcome["status"] == "failed"
    assert outcome["reason"] in ("code_refused", "exchange_unknown")
    assert await rows(Credential) == []


async def test_a_request_refused_over_a_strangers_code_does_not_hold_the_config(
    browser: Any, callback: str, rows: Any, fault: Any, config: Any, db: Any
) -> None:
    """Whoever may open a session chooses the code: nobody else's refreshes may wait because of it."""
    await fault("token", "status", status=400, body={"error": "invalid_request"})
    assert said(await browser.http.get(callback))["status"] == "failed"
    assert [row.held_until for row in await rows(type(config))] == [None]


async def test_a_wrong_client_secret_at_the_exchange_holds_the_config(
    browser: Any, callback: str, rows: Any, provider: httpx.AsyncClient, config: Any
) -> None:
    await provider.post("/_admin/apps/authpipe-dev/rotate-secret", json={})
    outcome = said(await browser.http.get(callback))
    assert (outcome["status"], outcome["reason"]) == ("failed", "client_refused")
    assert [row.held_reason for row in await rows(type(config))] == ["client_refused"]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("html", {}),
        ("truncated", {}),
        ("drop_after", {}),
        ("status", {"status": 500}),
        ("status", {"status": 200, "body": []}),
        ("status", {"status": 200, "body": {"access_token": 7, "token_type": "bearer"}}),
        ("status", {"status": 200, "body": {"access_token": "a\nb", "token_type": "bearer"}}),
        ("status", {"status": 302, "headers": {"location": "https://evil.example/"}}),
    ],
)
async def test_garbage_at_the_exchange_ends_the_attempt_and_nothing_else(
    browser: Any, callback: str, fault: Any, rows: Any, kind: str, more: dict[str, Any], simulator: Any
) -> None:
    await fault("token", kind, **more)
    outcome = said(await browser.http.get(callback))
    assert (outcome["status"], outcome["reason"]) == ("failed", "exchange_unknown")
    assert await rows(Credential) == []
    assert [life.status for life in await rows(Life)] == ["pending"]
    assert [row.sealed_code for row in await rows(AuthSession)] == [None]


async def test_with_the_engine_away_the_callback_is_kept_for_the_sweeper(
    browser: Any, callback: str, engine: Any, session: dict[str, Any], session_row: Any, db: Any
) -> None:
    engine.away = True
    outcome = said(await browser.http.get(callback))
    assert outcome == {"session_id": session["session_id"], "status": "exchanging"}
    row = await session_row(session["session_id"])
    assert (row.state, row.acknowledged_at) == ("exchanging", None)
    assert row.sealed_code is not None
    engine.away = False
    async with db.reading() as tx:
        life = await tx.get(Life, row.life_id)
    await engine.returned(life, row.id)
    assert (await session_row(row.id)).state == "completed"


async def test_a_browser_whose_exchange_came_late_may_still_choose_the_site(
    config: Any, opened: Any, browser: Any, engine: Any, db: Any, session_row: Any
) -> None:
    session = await opened()
    engine.away = True
    both = ["Acme Engineering", "Acme Support"]
    assert (await browser.walk(session["authorization_url"], sites=both))["status"] == "exchanging"
    engine.away = False
    row = await session_row(session["session_id"])
    async with db.reading() as tx:
        life = await tx.get(Life, row.life_id)
    await engine.returned(life, row.id)
    site = (await session_row(row.id)).sites[1]["id"]
    answer = await browser.http.post(f"/oauth/sessions/{row.id}/selection", json={"site_id": site})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


async def test_a_slow_exchange_sends_the_browser_on_in_the_meantime(
    browser: Any, callback: str, engine: Any, session: dict[str, Any], page: httpx.AsyncClient
) -> None:
    engine.idle = True
    assert said(await browser.http.get(callback))["status"] == "exchanging"
    outcome = (await page.get(f"/oauth/sessions/{session['session_id']}")).json()
    assert outcome["status"] == "exchanging"


async def test_two_tabs_are_both_valid_and_exactly_one_finishes(
    browser: Any, session: dict[str, Any], engine: Any, rows: Any
) -> None:
    one, two = [await browser.consent(session["authorization_url"]) for _ in range(2)]
    assert said(await browser.http.get(two))["status"] == "completed"
    assert refused_with(await browser.http.get(one)) == "session_used"
    assert engine.heard("returned") == 1
    assert len(await rows(Credential)) == 1


class TestBothDatabases:
    @pytest.fixture
    def database_url(self, either_database_url: str) -> str:
        return either_database_url

    async def test_of_callbacks_at_the_same_moment_exactly_one_wins(
        self, browser: Any, session: dict[str, Any], engine: Any, rows: Any
    ) -> None:
        engine.idle = True
        urls = [await browser.consent(session["authorization_url"]) for _ in range(3)]
        answers = await asyncio.gather(*(browser.http.get(url) for url in urls * 2))
        late = [answer for answer in answers if urlsplit(answer.headers["location"]).path != "/done"]
        assert [refused_with(answer) for answer in late] == ["session_used"] * 5
        assert engine.heard("returned") == 1
        (row,) = await rows(AuthSession)
        assert row.state == "exchanging"

    async def test_bytes_that_the_database_cannot_keep_get_a_refusal_and_no_error(
        self, browser: Any, callback: str, client: httpx.AsyncClient
    ) -> None:
        assert page_code(await browser.http.get("/oauth/visit/%00")) == (404, "session_unknown")
        assert refused_with(await browser.http.get(with_changes(callback, state="\x00"))) == "state_unknown"
        assert (await client.get("/oauth/sessions/%00")).status_code == 404
        assert (await client.post("/oauth/sessions/%00/selection", json={"site_id": "x"})).status_code == 404
        assert (await client.post("/oauth/sessions/%00/complete", json={"tenant_id": "x"})).status_code == 404
        wish = {"provider": "jira", "tenant_id": "acme", "redirect_url": "http://localhost:8080/\x00"}
        assert (await client.post("/oauth/session-tokens", json=wish)).status_code == 422
        assert (await client.post("/oauth/installs", json=wish)).status_code == 422
        assert said(await browser.http.get(with_changes(callback, code="\x00\ufffe")))["status"] == "failed"


async def test_another_spelling_of_the_path_redirects_nowhere(browser: Any, callback: str) -> None:
    """A redirect to the right one would put the code into a Location."""
    for path in ("/oauth/callback/", "/oauth//callback", "/OAUTH/callback"):
        answer = await browser.http.get(callback.replace("/oauth/callback", path))
        assert answer.status_code == 404
        assert "location" not in answer.headers


class TestTheIssuer:
    """A provider that declares its issuer must send it (RFC 9207)."""

    @pytest.fixture
    async def callback(self, app_config: Any, opened: Any, browser: Any) -> str:
        await app_config(provider_id="plain")
        url: str = await browser.consent((await opened(provider="plain"))["authorization_url"])
        assert "iss=" in url
        return url

    @pytest.mark.parametrize(
        "iss", [None, "http://127.0.0.1:9300", "http://127.0.0.1:9300/plain/", "HTTP://127.0.0.1:9300/plain"]
    )
    async def test_a_missing_or_unequal_issuer_is_refused(self, browser: Any, callback: str, iss: str | None) -> None:
        assert refused_with(await browser.http.get(with_changes(callback, iss=iss))) == "foreign_issuer"
        assert said(await browser.http.get(callback))["status"] == "completed"

    async def test_a_denial_without_the_issuer_is_not_believed(self, browser: Any, callback: str) -> None:
        forged = with_changes(callback, iss=None, code=None, error="access_denied")
        assert refused_with(await browser.http.get(forged)) == "foreign_issuer"
        assert said(await browser.http.get(callback))["status"] == "completed"


async def test_a_database_that_is_away_gets_a_page_and_loses_nothing(
    browser: Any, callback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise OperationalError("select", {}, OSError())

    with monkeypatch.context() as patched:
        patched.setattr(sessions, "consume", away)
        assert refused_with(await browser.http.get(callback)) == "database_unavailable"
    assert said(await browser.http.get(callback))["status"] == "completed"
