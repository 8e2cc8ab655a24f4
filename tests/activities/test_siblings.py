"""Several lives may share a grant: when one's changes, the others look whether theirs still works."""

from datetime import timedelta
from typing import Any

import pytest

from activities.ids import ids_of
from activities.messages import Ending
from domain.life import Kind, Status

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
REVOKED = {"status": 400, "body": {"error": "invalid_grant"}}


async def pair(stage: Any) -> tuple[Any, Any]:
    """Two users of the builder who are one account at the provider."""
    first = await stage.connected(Kind.CONNECTION, provider="plain", user_id="ann")
    second = await stage.connected(Kind.CONNECTION, provider="plain", user_id="bob")
    assert first.grant_id == second.grant_id
    return first, second


async def test_a_new_consent_of_the_account_marks_its_siblings(stage: Any) -> None:
    first, second = await pair(stage)
    assert (await stage.row(first)).probe_at == stage.clock.now
    assert (await stage.row(second)).probe_at > stage.clock.now + timedelta(hours=5)


async def test_the_consent_names_its_siblings_to_the_workflow(stage: Any) -> None:
    first = await stage.connected(Kind.CONNECTION, provider="plain", user_id="ann")
    second = await stage.life(Kind.CONNECTION, "plain", user_id="bob")
    result = await stage.advance(second, await stage.come_back(second))
    assert result.siblings == [ids_of(first)]


async def test_a_dead_grant_marks_its_siblings(stage: Any) -> None:
    first, second = await pair(stage)
    await stage.set_life(first, probe_at=None)
    await stage.fault("plain.token", "status", **REVOKED)
    result = await stage.refresh(second)
    assert (result.ending, result.siblings) == (Ending.REFUSED, [ids_of(first)])
    assert (await stage.row(first)).probe_at == stage.clock.now
    assert (await stage.row(first)).status == Status.ACTIVE


async def test_a_moments_failure_marks_nobody(stage: Any) -> None:
    first, second = await pair(stage)
    await stage.set_life(first, probe_at=None)
    await stage.fault("plain.token", "status", status=503)
    assert (await stage.refresh(second)).siblings == []
    assert (await stage.row(first)).probe_at is None


@ON_ONE
async def test_a_sibling_that_was_deleted_or_is_dead_is_left_alone(stage: Any) -> None:
    first, second = await pair(stage)
    await stage.set_life(first, probe_at=None, status=Status.NEEDS_REAUTH)
    await stage.fault("plain.token", "status", **REVOKED)
    assert (await stage.refresh(second)).siblings == []
