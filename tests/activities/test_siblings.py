"""Several lives may share a grant: when one's changes, the others look whether theirs still works."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from activities.ids import ids_of
from activities.messages import Ending, ProbeOrder, ProbeReport
from activities.probe import probe
from domain.life import Kind, Status
from vault import credentials
from vault.tables import Credential

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
REVOKED = {"status": 400, "body": {"error": "invalid_grant"}}


async def pair(stage: Any) -> tuple[Any, Any]:
    """Two users of the builder who are one account at the provider."""
    first = await stage.connected(Kind.CONNECTION, provider="plain", user_id="ann")
    second = await stage.connected(Kind.CONNECTION, provider="plain", user_id="bob")
    assert first.grant_id == second.grant_id
    return first, second


async def ask(stage: Any, life: Any, failures: int = 0) -> ProbeReport:
    row = await stage.row(life)
    return await probe(stage.deps, ProbeOrder(ids_of(life), row.generation, failures))


async def marked(stage: Any, life: Any) -> Any:
    await stage.set_life(life, probe_at=stage.clock.now)
    return await stage.row(life)


async def test_a_new_consent_of_the_account_marks_its_siblings(stage: Any) -> None:
    first, second = await pair(stage)
    assert (await stage.row(first)).probe_at == stage.clock.now
    assert (await stage.row(second)).probe_at is None


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


# --- the probe ------------------------------------------------------------------------------------------------------


async def test_a_token_that_works_ends_the_question(stage: Any) -> None:
    first, _ = await pair(stage)
    assert (await ask(stage, first)).ending is Ending.DONE
    assert (await stage.row(first)).probe_at is None


async def test_a_refused_token_is_served_no_more_and_has_to_be_refreshed(stage: Any) -> None:
    first, _ = await pair(stage)
    await stage.fault("plain.whoami", "status", status=401)
    assert (await ask(stage, first)).ending is Ending.TOKEN_REFUSED
    assert (await stage.credential(first)).refused_at == stage.clock.now
    row = await stage.row(first)
    assert (row.status, row.probe_at) == (Status.ACTIVE, None)


@ON_ONE
@pytest.mark.parametrize("status", [403, 404, 429, 500])
async def test_an_api_that_says_something_else_is_asked_again_and_then_let_be(stage: Any, status: int) -> None:
    first, _ = await pair(stage)
    await stage.fault("plain.whoami", "status", status=status, times=9)
    report = await ask(stage, first)
    assert (report.ending, report.not_before) == (Ending.STUMBLED, stage.clock.now + timedelta(seconds=1))
    assert (await stage.row(first)).probe_at == report.not_before
    assert (await ask(stage, first, failures=5)).ending is Ending.DONE
    row = await stage.row(first)
    assert (row.status, row.probe_at, (await stage.credential(first)).refused_at) == (Status.ACTIVE, None, None)


@ON_ONE
async def test_a_question_asked_anew_meanwhile_is_not_forgotten(stage: Any) -> None:
    first, _ = await pair(stage)
    later = stage.clock.now + timedelta(seconds=5)

    async def ask_anew() -> None:
        await stage.set_life(first, probe_at=later)

    stage.before_sending("/plain/whoami", ask_anew)
    assert (await ask(stage, first)).ending is Ending.DONE
    assert (await stage.row(first)).probe_at == later


@ON_ONE
async def test_a_credential_renewed_meanwhile_needs_no_probe(stage: Any) -> None:
    first, _ = await pair(stage)
    asked = await stage.asked("plain.whoami")
    stale = ProbeOrder(ids_of(first), (await stage.row(first)).generation - 1)
    assert (await probe(stage.deps, stale)).ending is Ending.RELOAD
    assert (await stage.asked("plain.whoami"), (await stage.row(first)).probe_at) == (asked, None)


@ON_ONE
async def test_a_token_that_cannot_be_renewed_needs_two_refusals_to_end_a_life(stage: Any) -> None:
    life = await stage.life()
    result = await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    assert not result.credential.refreshable
    await stage.fault("myself", "status", status=401, times=9)

    first = await ask(stage, life)
    assert (first.ending, first.not_before) == (Ending.STUMBLED, stage.clock.now + timedelta(minutes=1))
    assert (await stage.row(life)).status == Status.ACTIVE

    stage.clock.now = first.not_before
    assert (await ask(stage, life)).ending is Ending.REFUSED
    row = await stage.row(life)
    assert (row.status, row.reason, row.revoked_at) == (Status.NEEDS_REAUTH, "token_refused", None)


@ON_ONE
async def test_a_deleted_life_is_not_probed(stage: Any) -> None:
    first, _ = await pair(stage)
    asked = await stage.asked("plain.whoami")
    await stage.entomb(first)
    assert (await ask(stage, first)).ending is Ending.RELOAD
    assert await stage.asked("plain.whoami") == asked


@ON_ONE
async def test_a_token_that_is_accepted_again_is_served_again(stage: Any) -> None:
    """A stray 401 must not withhold for ever what cannot be renewed, nor count when another comes much later."""
    life = await stage.life()
    await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    await stage.fault("myself", "status", status=401)
    stage.clock.now = (await ask(stage, life)).not_before
    assert (await ask(stage, life)).ending is Ending.DONE
    assert (await stage.credential(life)).refused_at is None

    stage.clock.advance(minutes=9)
    await stage.fault("myself", "status", status=401)
    assert (await ask(stage, life)).ending is Ending.STUMBLED
    assert (await stage.row(life)).status == Status.ACTIVE


@ON_ONE
async def test_a_refusal_that_nobody_confirms_is_dropped_in_the_end(stage: Any) -> None:
    life = await stage.life()
    await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    await stage.fault("myself", "status", status=401)
    await ask(stage, life)
    await stage.fault("myself", "status", status=404)
    assert (await ask(stage, life, failures=5)).ending is Ending.DONE
    assert (await stage.credential(life)).refused_at is None


@ON_ONE
async def test_a_row_without_a_credential_is_not_asked_about_in_a_circle(stage: Any) -> None:
    first, _ = await pair(stage)
    generation = (await stage.row(first)).generation
    async with stage.deps.db.transaction() as tx:
        await credentials.destroy(tx, first.id)
    assert (await probe(stage.deps, ProbeOrder(ids_of(first), generation))).ending is Ending.RELOAD
    assert (await stage.row(first)).probe_at is None


@ON_ONE
async def test_a_credential_that_cannot_be_opened_is_not_asked_about_for_ever(stage: Any) -> None:
    first, _ = await pair(stage)
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(Credential).where(col(Credential.life_id) == first.id).values(sealed_access=b"broken"))
    assert (await ask(stage, first)).ending is Ending.DONE
    assert (await stage.row(first)).probe_at is None
