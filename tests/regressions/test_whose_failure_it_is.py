"""Bugs of peers in which one kind of failure was read as another."""

from datetime import timedelta
from typing import Any

import pytest

from activities.messages import Ending
from domain.life import Kind, Status
from domain.serving import Verdict
from tests.regressions.reading import served
from vault import configs

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_a_wrong_client_secret_costs_no_connection(stage: Any) -> None:
    """The operator's `invalid_client` marked every connection of the app as dead, or deleted it."""
    lives = [await stage.connected(Kind.CONNECTION, "plain", user_id=user) for user in ("ann", "bob", "eve")]
    before = [await stage.secrets(life) for life in lives]
    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="the-new-one")

    for _ in range(5):
        for life in lives:
            assert (await stage.refresh(life)).ending is Ending.HELD
        stage.clock.advance(minutes=2)

    assert [await stage.secrets(life) for life in lives] == before
    assert [(await stage.row(life)).status for life in lives] == [Status.ACTIVE] * 3
    assert [(await served(stage, life))[0].verdict for life in lives] == [Verdict.SERVE] * 3
    config = stage.configs["plain"]
    now = stage.clock.now
    await configs.change(stage.deps.db, stage.deps.sealer, "default", config.id, now, client_secret="the-new-one")
    assert [(await stage.refresh(life)).ending for life in lives] == [Ending.CREDENTIALED] * 3


@ON_ONE
@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "600"}},
        {"kind": "drop_after"},
        {"kind": "html"},
        {"kind": "status", "status": 401, "body": {"error": "invalid_client"}},
    ],
)
async def test_a_token_that_still_lives_is_served_while_refreshing_is_backed_off(
    stage: Any, trouble: dict[str, Any]
) -> None:
    """After a failed refresh readers got an error until the next try, although the token had minutes to live."""
    life = await stage.connected()
    access = (await stage.secrets(life)).access
    stage.clock.advance(minutes=51)
    await stage.fault("token", **trouble)
    assert (await stage.refresh(life)).ending in (Ending.STUMBLED, Ending.HELD)
    for _ in range(8):
        verdict, token = await served(stage, life)
        assert (verdict.verdict, token) == (Verdict.SERVE, access)
        assert await stage.valid("access", token)
        stage.clock.advance(minutes=1)


@ON_ONE
@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "drop_after"},
        {"kind": "drop_before"},
        {"kind": "truncated"},
        {"kind": "html", "after": True},
        {"kind": "status", "status": 503, "after": True},
        {"kind": "status", "status": 503},
    ],
)
async def test_a_refresh_token_in_doubt_is_not_sent_again_on_any_error(stage: Any, trouble: dict[str, Any]) -> None:
    """Every error led to a retry with the same single-use token, which the provider punished by ending the grant."""
    life = await stage.connected(provider="plain")
    sent = await stage.asked("plain.token")
    await stage.fault("plain.token", **trouble)
    assert (await stage.refresh(life)).ending is Ending.STUMBLED
    for _ in range(5):
        stage.clock.advance(minutes=10)
        assert (await stage.refresh(life)).ending is Ending.WAITING
    assert await stage.asked("plain.token") == sent + 1
    assert (await served(stage, life))[0].verdict is Verdict.SERVE


@ON_ONE
async def test_a_consent_that_names_no_lifetime_does_not_live_for_ever(stage: Any) -> None:
    """A missing `expires_in` was read as "never", and the token was served for days after it had died."""
    life = await stage.life()
    await stage.fault("token", "missing_expires_in", grant_type="authorization_code")
    row = await stage.connect(life)
    assert row.expires_at == stage.clock.now + timedelta(hours=1)
    assert stage.clock.now < row.next_due_at < row.expires_at
