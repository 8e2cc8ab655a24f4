"""Whoever comes in between: a consent, a tombstone, another failure (law 2)."""

from typing import Any

import pytest

from activities.messages import Ending
from domain.life import Kind, Status

TOKEN = "/oauth/token"


async def test_law_02_a_late_refresh_never_overwrites_a_newer_consent(stage: Any) -> None:
    life = await stage.connected()
    stage.before_sending(TOKEN, lambda: consent_anew(stage, life))

    result = await stage.refresh(life)

    row, standing = await stage.row(life), await stage.credential(life)
    assert result.ending is Ending.RELOAD
    assert row.generation == standing.generation
    assert await stage.outcomes(life) == ["superseded"]
    assert (await stage.events(life))[-1] == "activated"
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def consent_anew(stage: Any, life: Any) -> None:
    session = await stage.come_back(life)
    assert (await stage.advance(life, session)).credential is not None


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 403, "body": {"error": "invalid_grant"}}, {"kind": "status", "status": 503}]
)
async def test_law_02_a_late_failure_never_marks_a_newer_consent(stage: Any, fault: dict[str, Any]) -> None:
    life = await stage.connected()

    async def consent_then_fail() -> None:
        await consent_anew(stage, life)
        await stage.fault("token", **fault)

    stage.before_sending(TOKEN, consent_then_fail)
    await stage.refresh(life)
    row = await stage.row(life)
    assert (row.status, row.health, row.failures) == (Status.ACTIVE, "ok", 0)
    assert (await stage.credential(life)).refused_at is None


async def test_a_tombstoned_life_is_not_refreshed(stage: Any) -> None:
    life = await stage.connected()
    await stage.entomb(life)
    asked = await stage.asked()
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    assert (await stage.asked(), await stage.ledger(life)) == (asked, [])


async def test_what_a_refresh_brings_after_the_tombstone_is_kept_for_the_revocation_alone(stage: Any) -> None:
    life = await stage.connected()
    stage.before_sending(TOKEN, lambda: stage.entomb(life))
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    assert (await stage.known("refresh", (await stage.secrets(life)).refresh))["current"]
    assert "refreshed" not in await stage.events(life)


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 403, "body": {"error": "invalid_grant"}}, {"kind": "status", "status": 503}]
)
async def test_a_failure_after_the_tombstone_leaves_the_deletion_due(stage: Any, fault: dict[str, Any]) -> None:
    """`next_due_at` of a tombstoned row is how an unfinished deletion is found again."""
    life = await stage.connected()
    await stage.fault("token", **fault)
    stage.before_sending(TOKEN, lambda: stage.entomb(life))
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    row = await stage.row(life)
    assert (row.status, row.health, row.next_due_at) == (Status.ACTIVE, "ok", stage.clock.now)
    assert await stage.events(life) == ["created", "activated"]


async def test_a_stumble_does_not_degrade_a_life_that_needs_the_user(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "status", status=503)
    marked = {"status": Status.NEEDS_REAUTH, "reason": "grant_revoked", "next_due_at": None}
    stage.before_sending(TOKEN, lambda: stage.set_life(life, **marked))
    await stage.refresh(life)
    row = await stage.row(life)
    assert (row.status, row.health, row.next_due_at) == (Status.NEEDS_REAUTH, "ok", None)


async def test_a_user_connection_is_refreshed_like_an_installation(stage: Any) -> None:
    installation = await stage.connected()
    connection = await stage.connected(Kind.CONNECTION, installation_id=installation.id)
    assert (await stage.refresh(connection)).ending is Ending.CREDENTIALED
    assert (await stage.events(connection))[-1] == "refreshed"
    assert (await stage.row(installation)).revision == installation.revision
