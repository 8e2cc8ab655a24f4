"""Whose failure a refresh met, and what follows: the user's, the operator's, the moment's (law 4)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from activities.messages import Ending
from domain.holds import MISCONFIGURED_PAUSE, HoldKind, wait_of
from domain.life import Status
from vault import configs

TOKEN = "/oauth/token"
# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def unchanged(stage: Any, life: Any, before: Any) -> None:
    """The old credential still stands and opens."""
    assert await stage.secrets(life) == before
    assert (await stage.row(life)).status == Status.ACTIVE


# --- the user's -------------------------------------------------------------------------------------------------------


async def test_a_withdrawn_grant_needs_the_user_and_says_so(stage: Any) -> None:
    life = await stage.connected()
    await stage.ask("POST", f"grants/{(await stage.grant())['id']}/revoke")

    result = await stage.refresh(life)

    row = await stage.row(life)
    assert (result.ending, result.code) == (Ending.REFUSED, "grant_revoked")
    assert (row.status, row.reason, row.revoked_at) == (Status.NEEDS_REAUTH, "grant_revoked", stage.clock.now)
    assert (row.health, row.next_due_at) == ("ok", None)
    assert (await stage.credential(life)).refused_at == stage.clock.now
    assert (await stage.events(life))[-1] == "needs_reauth"
    assert await stage.outcomes(life) == ["refused"]
    assert (await stage.config()).held_until is None


@ON_ONE
async def test_a_token_that_nobody_refused_is_served_on(stage: Any) -> None:
    """A changed password ends refreshing; the access token lives out its time."""
    life = await stage.connected()
    await stage.ask("POST", "accounts/admin/change-password")
    assert (await stage.refresh(life)).ending is Ending.REFUSED
    assert (await stage.credential(life)).refused_at is None


async def test_a_dead_grant_is_recorded_before_anything_else_is_asked(stage: Any) -> None:
    """A worker that dies in the probe must not leave a refused token in doubt: it would read as a lost rotation."""
    life = await stage.connected()
    await stage.ask("POST", f"grants/{(await stage.grant())['id']}/revoke")

    async def die() -> None:
        raise ZeroDivisionError

    stage.before_sending(f"/ex/jira/{life.site_id}/rest/api/3/myself", die)
    with pytest.raises(ZeroDivisionError):
        await stage.refresh(life)
    row = await stage.row(life)
    assert (row.status, row.reason) == (Status.NEEDS_REAUTH, "grant_revoked")


async def test_a_dead_grant_is_not_asked_about_again(stage: Any) -> None:
    life = await stage.connected()
    await stage.ask("POST", "accounts/admin/change-password")
    await stage.refresh(life)
    asked = await stage.asked()
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    assert await stage.asked() == asked


async def test_without_a_refresh_token_a_credential_lives_until_it_expires(stage: Any) -> None:
    life = await stage.life()
    result = await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    assert not result.credential.refreshable
    expires_at = result.credential.expires_at

    waiting = await stage.refresh(life)
    assert (waiting.ending, waiting.not_before) == (Ending.WAITING, expires_at)
    assert (await stage.row(life)).status == Status.ACTIVE

    stage.clock.now = expires_at
    ended = await stage.refresh(life)
    row = await stage.row(life)
    assert (ended.ending, row.status, row.reason) == (Ending.REFUSED, Status.NEEDS_REAUTH, "grant_expired")
    assert row.revoked_at is None


# --- the operator's ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [("access_denied", "client_refused"), ("invalid_client", "client_refused")])
async def test_law_04_an_operators_failure_holds_the_config_and_blames_nobody(
    stage: Any, error: str, code: str
) -> None:
    life = await stage.connected()
    row, before = await stage.row(life), await stage.secrets(life)
    await stage.fault("token", "status", status=401, body={"error": error})

    result = await stage.refresh(life)

    config, until = await stage.config(), stage.clock.now + MISCONFIGURED_PAUSE
    assert (result.ending, result.code) == (Ending.HELD, code)
    assert (config.hold_kind, config.held_until, config.held_reason) == (HoldKind.MISCONFIGURED, until, code)
    assert result.not_before == wait_of(life.id, until, stage.clock.now, row.next_due_at) > until
    assert (await stage.row(life)).revision == row.revision
    assert await stage.outcomes(life) == ["operator"]
    assert await stage.events(life) == ["created", "activated"]
    await unchanged(stage, life, before)


async def test_a_request_refused_for_one_life_does_not_hold_the_config_for_all(stage: Any) -> None:
    life = await stage.connected()
    before = await stage.secrets(life)
    await stage.fault("token", "status", status=400, body={"error": "invalid_scope"})

    result = await stage.refresh(life)

    row, config = await stage.row(life), await stage.config()
    assert (result.ending, result.code) == (Ending.STUMBLED, "request_refused")
    assert (row.status, row.health, row.last_error) == (Status.ACTIVE, "degraded", "request_refused")
    assert config.held_until is None
    assert await stage.outcomes(life) == ["not_handled"]
    await unchanged(stage, life, before)


async def test_a_held_config_is_not_asked_until_the_hold_is_over_and_success_ends_it(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "status", status=401, body={"error": "access_denied"})
    await stage.refresh(life)
    asked = await stage.asked()

    assert (await stage.refresh(life)).ending is Ending.HELD
    assert (await stage.asked(), len(await stage.ledger(life))) == (asked, 1)

    stage.clock.advance(minutes=1, seconds=1)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (await stage.config()).held_until is None


async def test_the_previous_client_secret_is_tried_once_when_the_new_one_is_refused(stage: Any) -> None:
    """Changed with us, not yet with the provider."""
    life = await stage.connected()
    await change_secret(stage, "the-new-secret")
    asked = await stage.asked()
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert await stage.asked() == asked + 2

    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="a third one")
    asked = await stage.asked()
    assert (await stage.refresh(life)).code == "client_refused"
    assert await stage.asked() == asked + 2


@ON_ONE
async def test_the_previous_client_secret_is_not_tried_after_its_day(stage: Any) -> None:
    life = await stage.connected()
    await change_secret(stage, "the-new-secret")
    stage.clock.advance(hours=24)
    asked = await stage.asked()
    assert (await stage.refresh(life)).code == "client_refused"
    assert await stage.asked() == asked + 1


@ON_ONE
@pytest.mark.parametrize(("status", "error"), [(503, None), (400, "invalid_request"), (403, "invalid_grant")])
async def test_the_previous_client_secret_is_tried_on_no_other_answer(stage: Any, status: int, error: str) -> None:
    life = await stage.connected()
    await change_secret(stage, "the-new-secret")
    await stage.fault("token", "status", status=status, body={"error": error} if error else None)
    asked = await stage.asked()
    assert (await stage.refresh(life)).ending is not Ending.CREDENTIALED
    assert await stage.asked() == asked + 1


async def change_secret(stage: Any, secret: str) -> None:
    config = stage.configs["jira"]
    await configs.change(stage.deps.db, stage.deps.sealer, "default", config.id, stage.clock.now, client_secret=secret)


# --- the moment's -----------------------------------------------------------------------------------------------------


@ON_ONE
@pytest.mark.parametrize(
    ("fault", "code", "outcome"),
    [
        ({"kind": "status", "status": 503}, "server_error", None),
        ({"kind": "drop_before"}, "no_answer", None),
        ({"kind": "html"}, "unreadable_answer", None),
        ({"kind": "truncated"}, "unreadable_answer", None),
        ({"kind": "status", "status": 429}, "rate_limited", "not_handled"),
        ({"kind": "html", "status": 403}, "unreadable_answer", "not_handled"),
        ({"kind": "status", "status": 418, "body": {"error": "teapot"}}, "unknown_error", "not_handled"),
    ],
)
async def test_a_moments_failure_degrades_and_goes_on_serving(
    stage: Any, fault: dict[str, Any], code: str, outcome: str | None
) -> None:
    life = await stage.connected()
    before = await stage.secrets(life)
    await stage.fault("token", **fault)

    result = await stage.refresh(life)

    row = await stage.row(life)
    assert (result.ending, result.code) == (Ending.STUMBLED, code)
    assert (row.health, row.last_error, row.failures) == ("degraded", code, 1)
    assert row.next_due_at > stage.clock.now
    assert await stage.outcomes(life) == [outcome]
    assert (await stage.events(life))[-1] == "degraded"
    assert (await stage.config()).held_until is None
    await unchanged(stage, life, before)


async def test_nothing_is_in_doubt_when_nothing_was_sent(stage: Any) -> None:
    life = await stage.connected()

    async def refuse() -> None:
        raise httpx.ConnectError("refused")

    stage.before_sending(TOKEN, refuse)
    assert (await stage.refresh(life)).code == "unreachable"
    assert await stage.outcomes(life) == ["not_sent"]


@ON_ONE
async def test_retry_after_is_honoured(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "status", status=429, headers={"Retry-After": "120"})
    result = await stage.refresh(life)
    assert result.not_before == stage.clock.now + timedelta(seconds=120)
    assert (await stage.row(life)).next_due_at == result.not_before


async def test_degraded_is_told_once_and_recovery_too(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "status", status=429, times=2)
    for _ in range(3):
        stage.clock.advance(minutes=1)
        await stage.refresh(life)
    row = await stage.row(life)
    assert (row.failures, row.health, row.last_error) == (0, "ok", "")
    assert (await stage.events(life))[2:] == ["degraded", "recovered", "refreshed"]


async def test_a_provider_that_does_not_answer_in_time_leaves_the_attempt_in_doubt(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "delay", seconds=30)
    deps = replace(stage.deps, limits=replace(stage.deps.limits, http=timedelta(milliseconds=50)))
    assert (await stage.refresh(life, deps)).code == "no_answer"
    assert await stage.outcomes(life) == [None]
