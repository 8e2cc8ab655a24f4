"""Whose consent it was, said afterwards by the builder's backend (law 6)."""

from typing import Any

import httpx
import pytest

from vault.tables import Life

ANN = {"tenant_id": "acme", "user_id": "ann"}


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


@pytest.fixture
async def unconfirmed(config: Any, opened: Any, browser: Any, page: httpx.AsyncClient, rows: Any) -> dict[str, Any]:
    """A session that a page opened with its bare publishable key, for the user ann."""
    session: dict[str, Any] = await opened(by=page, user_id="ann")
    outcome = await browser.walk(session["authorization_url"])
    assert outcome["status"] == "pending_verification"
    assert "installation_id" not in outcome
    assert [life.status for life in await rows(Life)] == ["pending"]
    return session


async def test_the_backend_confirms_the_user_and_only_then_the_life_begins(
    client: httpx.AsyncClient, unconfirmed: dict[str, Any], rows: Any
) -> None:
    path = f"/oauth/sessions/{unconfirmed['session_id']}/complete"
    answer = await client.post(path, json=ANN)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert [life.status for life in await rows(Life)] == ["active"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "bad_request"),
        ({"tenant_id": "acme"}, 422, "bad_request"),
        ({"user_id": "ann"}, 422, "bad_request"),
        ({"user_id": "ann", "tenant_id": None}, 422, "bad_request"),
        ({"tenant_id": "acme", "user_id": "bob"}, 409, "user_mismatch"),
        ({"tenant_id": "acme", "user_id": "Ann"}, 409, "user_mismatch"),
        ({"user_id": "ann", "tenant_id": "globex"}, 409, "user_mismatch"),
        (ANN | {"extra": 1}, 422, "bad_request"),
    ],
)
async def test_a_confirmation_for_anybody_else_is_refused_and_changes_nothing(
    client: httpx.AsyncClient,
    unconfirmed: dict[str, Any],
    session_row: Any,
    body: dict[str, str],
    status: int,
    code: str,
) -> None:
    path = f"/oauth/sessions/{unconfirmed['session_id']}/complete"
    assert refused(await client.post(path, json=body)) == (status, code)
    row = await session_row(unconfirmed["session_id"])
    assert (row.state, row.verified_at) == ("pending_verification", None)


async def test_only_a_secret_key_confirms(
    client_with: Any, page: httpx.AsyncClient, browser: Any, unconfirmed: dict[str, Any]
) -> None:
    path, body = f"/oauth/sessions/{unconfirmed['session_id']}/complete", ANN
    assert refused(await page.post(path, json=body)) == (403, "forbidden")
    assert refused(await browser.http.post(path, json=body)) == (401, "unauthenticated")
    assert refused(await client_with("").post(path, json=body)) == (401, "unauthenticated")


async def test_the_time_to_confirm_ends(client: httpx.AsyncClient, unconfirmed: dict[str, Any], clock: Any) -> None:
    clock.advance(minutes=30)
    path = f"/oauth/sessions/{unconfirmed['session_id']}/complete"
    assert refused(await client.post(path, json=ANN)) == (409, "session_not_waiting")


async def test_a_page_cannot_bring_its_own_user_into_anothers_tenant(
    client: httpx.AsyncClient, config: Any, opened: Any, browser: Any, page: httpx.AsyncClient, rows: Any
) -> None:
    session = await opened(by=page, tenant_id="victim-corp", user_id="mallory")
    await browser.walk(session["authorization_url"])
    path = f"/oauth/sessions/{session['session_id']}/complete"
    assert refused(await client.post(path, json={"user_id": "mallory"})) == (422, "bad_request")
    mine = {"tenant_id": "mallory-ltd", "user_id": "mallory"}
    assert refused(await client.post(path, json=mine)) == (409, "user_mismatch")
    assert [life.status for life in await rows(Life)] == ["pending"]


async def test_a_confirmation_is_kept_while_the_engine_is_away_and_repeating_it_is_no_error(
    client: httpx.AsyncClient, unconfirmed: dict[str, Any], engine: Any, session_row: Any, clock: Any
) -> None:
    path = f"/oauth/sessions/{unconfirmed['session_id']}/complete"
    engine.away = True
    kept = await client.post(path, json=ANN)
    assert (kept.status_code, kept.json()["status"]) == (200, "pending_verification")
    assert (await session_row(unconfirmed["session_id"])).verified_at == clock.now
    clock.advance(minutes=31)  # it was confirmed in time, whenever the engine hears of it
    engine.away = False
    for _ in range(2):
        again = await client.post(path, json=ANN)
        assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert refused(await client.post(path, json=ANN | {"user_id": "bob"})) == (409, "user_mismatch")


async def test_an_installation_without_a_user_is_confirmed_by_its_tenant(
    client: httpx.AsyncClient, page: httpx.AsyncClient, config: Any, opened: Any, browser: Any
) -> None:
    session = await opened(by=page)
    await browser.walk(session["authorization_url"])
    path = f"/oauth/sessions/{session['session_id']}/complete"
    assert refused(await client.post(path, json={})) == (422, "bad_request")
    assert refused(await client.post(path, json={"tenant_id": "globex"})) == (409, "user_mismatch")
    somebody = {"tenant_id": "acme", "user_id": "ann"}
    assert refused(await client.post(path, json=somebody)) == (409, "user_mismatch")
    assert (await client.post(path, json={"tenant_id": "acme"})).json()["status"] == "completed"


async def test_a_config_may_demand_confirmation_of_every_session(
    app_config: Any, opened: Any, browser: Any, client: httpx.AsyncClient
) -> None:
    await app_config(verify_user=True)
    session = await opened(user_id="ann")
    assert (await browser.walk(session["authorization_url"]))["status"] == "pending_verification"


async def test_a_trusted_config_believes_the_page_in_development(
    app_config: Any, opened: Any, browser: Any, page: httpx.AsyncClient
) -> None:
    await app_config(trust_publishable_sessions=True)
    session = await opened(by=page, user_id="ann")
    assert (await browser.walk(session["authorization_url"]))["status"] == "completed"


class TestProduction:
    @pytest.fixture
    def development(self) -> bool:
        return False

    async def test_the_trust_flag_of_a_row_counts_for_nothing(
        self, app_config: Any, opened: Any, browser: Any, page: httpx.AsyncClient
    ) -> None:
        await app_config(trust_publishable_sessions=True)
        session = await opened(by=page, user_id="ann")
        assert (await browser.walk(session["authorization_url"]))["status"] == "pending_verification"
