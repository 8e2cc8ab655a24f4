"""`POST /api/credentials`: a valid credential at once, and otherwise why there is none (law 5)."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from starlette.routing import Router
from structlog.testing import capture_logs

from tests.api.flow.credentials.asking import refused

Ask = Callable[..., Awaitable[httpx.Response]]


# --- law 5 ------------------------------------------------------------------------------------------------------------


async def test_a_valid_credential_is_served_in_full_and_not_kept_by_caches(ask: Ask, new_credential: Any) -> None:
    life = await new_credential(
        access="secret-1",
        installation_id="inst_1",
        site_id="s1",
        site_name="Acme",
        site_url="https://acme.example",
        requested_scopes=["read:jira-work", "write:jira-work"],
    )
    answer = await ask()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "credential": "secret-1",
        "credential_type": "oauth_token",
        "source": "connection",
        "refreshed": False,
        "needs_reauth": False,
        "expires_at": "2026-03-01T13:00:00Z",
        "scopes": ["read:jira-work"],
        "missing_scopes": ["write:jira-work"],
        "warnings": [],
        "connection_id": life.id,
        "site": {"id": "s1", "name": "Acme", "url": "https://acme.example"},
        "generation": 1,
    }


@pytest.mark.parametrize("age", [timedelta(0), timedelta(minutes=59, seconds=30)])
async def test_law_05_a_credential_that_still_lives_is_served_without_a_word_to_the_engine(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, age: timedelta
) -> None:
    await new_credential(access="secret-1")
    engine.away = True
    clock.now += age
    answer = await ask()
    assert (answer.status_code, answer.json()["credential"], answer.json()["warnings"]) == (200, "secret-1", [])
    assert engine.calls == []


async def test_law_05_it_is_served_while_refreshing_fails(ask: Ask, new_credential: Any, engine: Any) -> None:
    await new_credential(health="degraded", failures=7, last_error="server_error")
    answer = await ask()
    assert (answer.status_code, answer.json()["warnings"]) == (200, ["refresh_failing"])
    assert engine.calls == []


async def test_the_hot_path_is_one_select(
    ask: Ask, new_credential: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await new_credential()
    assert (await ask()).status_code == 200  # the key and the tenant's data key are remembered from here on
    said: list[str] = []
    fetch = db._direct._driver.fetch

    async def noting(statement: str, arguments: Any) -> Any:
        said.append(statement)
        return await fetch(statement, arguments)

    def no_session(*_: Any) -> None:
        pytest.fail("a session was begun")

    monkeypatch.setattr(db._direct._driver, "fetch", noting)
    event.listen(db._engine.sync_engine, "before_cursor_execute", no_session)
    try:
        assert (await ask()).status_code == 200
    finally:
        event.remove(db._engine.sync_engine, "before_cursor_execute", no_session)
    assert [statement.split()[0] for statement in said] == ["SELECT"]


# --- needs_reauth, deleted, unknown -----------------------------------------------------------------------------------


async def test_needs_reauth_with_a_token_nobody_refused_is_served_and_said(
    ask: Ask, new_credential: Any, engine: Any
) -> None:
    await new_credential(status="needs_reauth", reason="grant_revoked")
    answer = await ask(force_refresh=True, min_ttl=7200)
    assert (answer.status_code, answer.json()["needs_reauth"]) == (200, True)
    assert answer.json()["warnings"] == ["needs_reauth"]
    assert engine.calls == []


async def test_needs_reauth_otherwise_says_why_and_what_to_do(
    ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential(status="needs_reauth", reason="grant_revoked", refused_at=clock())
    answer = await ask()
    assert refused(answer) == (409, "needs_reauth")
    assert "grant_revoked" in answer.json()["detail"]
    assert answer.json()["remedy"]
    assert engine.calls == []


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"status": "pending", "connected_at": None}, "never active"),
        ({"status": "revoked"}, "revoked"),
        ({"tenant_id": "globex"}, "another tenant's"),
        ({"workspace_id": "another"}, "another workspace's"),
        ({"user_id": "user-2"}, "another user's"),
        ({"user_id": ""}, "the tenant's, and a user is never answered with that"),
        ({"provider_id": "plain"}, "another provider's"),
    ],
)
async def test_what_is_not_the_callers_is_not_connected(
    ask: Ask, new_credential: Any, columns: dict[str, Any], why: str
) -> None:
    await new_credential(**columns)
    assert refused(await ask()) == (404, "not_connected"), why


async def test_law_10_a_tombstone_stops_serving_at_once_with_the_engine_away(
    ask: Ask, client: httpx.AsyncClient, new_credential: Any, engine: Any
) -> None:
    life = await new_credential()
    engine.away = True
    answer = await client.delete(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.headers["authpipe-upstream"]) == (204, "pending")
    assert refused(await ask()) == (404, "not_connected")


async def test_deleting_an_installation_stops_its_users_too(
    client: httpx.AsyncClient, installation: str, opened: Any, browser: Any, ask: Ask
) -> None:
    link = (await opened("sessions", user_id="ann"))["authorization_url"]
    assert (await browser.walk(link, person="member"))["status"] == "completed"
    assert (await ask(user_id="ann")).status_code == 200
    assert (await client.delete(f"/api/installations/{installation}")).status_code == 204
    for wish in ({"user_id": "ann"}, {"user_id": None}):
        assert refused(await ask(**wish)) == (404, "not_connected")


async def test_an_unknown_provider_is_said_to_be_one(ask: Ask) -> None:
    assert refused(await ask(provider="nowhere")) == (404, "provider_unknown")


async def test_both_ways_into_a_read_answer_alike(
    ask: Ask, client: httpx.AsyncClient, new_credential: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As most ask, past the framework's resolving; and any other way of writing the same, through it."""
    await new_credential()
    with monkeypatch.context() as without:
        without.setattr(Router, "__call__", None)  # the framework's way is closed
        direct = await ask()
    asked = {"headers": {"content-type": "application/json; charset=utf-8"}, "content": direct.request.content}
    resolved = await client.post("/api/credentials", **asked)
    assert (resolved.status_code, resolved.json()) == (200, direct.json())
    shown = ("content-type", "cache-control", "content-length")
    assert [resolved.headers[name] for name in shown] == [direct.headers[name] for name in shown]


@pytest.mark.parametrize("path", ["/api/credentials", "/oauth/sessions"])
async def test_who_leaves_while_asking_is_no_error_of_ours(client: httpx.AsyncClient, path: str) -> None:
    sent: list[Any] = []

    async def leaves() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    with capture_logs() as lines:
        await client._transport.app(scope, leaves, send)  # type: ignore[attr-defined]
    assert (sent[0]["status"], lines) == (400, [])


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/credentials", json={"provider": "x" * 100_000})
    assert refused(answer) == (413, "body_too_large")
