"""An attempt from the callback to its end: the swap, whose it is, and when it expires."""

from datetime import timedelta
from typing import Any

import pytest

from activities.messages import Ending
from domain.life import AttemptState, Status
from tests.activities.attempts import choose, failed
from vault import sessions

ENGINEERING, SUPPORT = "Acme Engineering", "Acme Support"

# --- the swap ---------------------------------------------------------------------------------------------------------


async def test_a_consent_activates_a_life(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)

    result = await stage.advance(life, session)

    row, credential, secrets = await stage.row(life), await stage.credential(life), await stage.secrets(life)
    assert (result.ending, result.state) == (Ending.CREDENTIALED, AttemptState.COMPLETED)
    assert result.credential.generation == row.generation == credential.generation
    assert (row.status, row.site_name, row.connected_at) == (Status.ACTIVE, ENGINEERING, stage.clock.now)
    assert row.site_url.startswith("https://")
    assert row.account_id == (await stage.grant())["account_id"]
    assert set(row.granted_scopes) == {"read:jira-user", "read:jira-work", "offline_access"}
    assert stage.clock.now < row.next_due_at < row.expires_at
    assert await stage.valid("access", secrets.access)
    assert await stage.valid("refresh", secrets.refresh)
    assert await stage.events(life) == ["created", "activated"]
    assert await stage.outcomes(life, "exchange") == ["succeeded"]
    finished = await stage.session(session.id)
    assert (finished.state, finished.acknowledged_at) == (AttemptState.COMPLETED, stage.clock.now)
    assert finished.sealed_code is None
    assert [visit.sealed_verifier for visit in await stage.visits(session)] == [None]


async def test_a_repaired_life_keeps_its_id_and_is_active_again(stage: Any) -> None:
    life = await stage.connected()
    connected_at = life.connected_at
    await stage.ask("POST", "accounts/admin/change-password")
    await stage.refresh(life)
    stage.clock.advance(hours=2)

    repaired = await stage.connect(life)

    assert (repaired.status, repaired.reason, repaired.revoked_at) == (Status.ACTIVE, "", None)
    assert repaired.connected_at == connected_at
    assert repaired.generation > life.generation
    assert await stage.events(life) == ["created", "activated", "needs_reauth", "activated"]
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_a_session_that_has_not_come_back_changes_nothing(stage: Any) -> None:
    life = await stage.life()
    session = await stage.open_session(life)
    result = await stage.advance(life, session)
    assert (result.ending, result.state, result.deadline) == (Ending.MOVED, AttemptState.PENDING, session.expires_at)
    assert await stage.session(session.id) == session


async def test_a_session_of_another_life_is_unknown(stage: Any) -> None:
    life, other = await stage.life(), await stage.life(tenant_id="other")
    session = await stage.come_back(life)
    result = await stage.advance(other, session)
    assert (result.state, result.code) == (AttemptState.FAILED, "unknown_session")
    assert await stage.asked() == 0


# --- whose it is ------------------------------------------------------------------------------------------------------


async def test_a_consent_that_needs_verification_waits_for_it(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, needs_verification=True)

    waiting = await stage.advance(life, session)
    assert (waiting.ending, waiting.state) == (Ending.MOVED, AttemptState.PENDING_VERIFICATION)
    assert waiting.deadline == stage.clock.now + timedelta(minutes=30)
    assert (await stage.advance(life, session)).state is AttemptState.PENDING_VERIFICATION
    assert (await stage.row(life)).status == Status.PENDING

    async with stage.deps.db.transaction() as tx:
        assert await sessions.verify(tx, session.id, stage.clock.now)
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED
    assert await stage.asked() == 1


async def test_after_a_choice_the_verification_is_still_needed(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, sites=(ENGINEERING, SUPPORT), needs_verification=True)
    assert (await stage.advance(life, session)).state is AttemptState.AWAITING_SELECTION
    await choose(stage, session, SUPPORT)
    assert (await stage.advance(life, session)).state is AttemptState.PENDING_VERIFICATION
    async with stage.deps.db.transaction() as tx:
        assert await sessions.verify(tx, session.id, stage.clock.now)
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED
    assert (await stage.row(life)).site_name == SUPPORT


@pytest.mark.parametrize("needs_verification", [True, False])
async def test_a_verification_or_choice_that_does_not_come_destroys_the_candidate(
    stage: Any, needs_verification: bool
) -> None:
    life = await stage.life()
    sites = (ENGINEERING,) if needs_verification else (ENGINEERING, SUPPORT)
    session = await stage.come_back(life, sites=sites, needs_verification=needs_verification)
    stage.clock.now = (await stage.advance(life, session)).deadline
    assert (await stage.close(life, session)).code == "expired"
    assert await failed(stage, session) == ("expired", "")


# --- the end of an attempt --------------------------------------------------------------------------------------------


async def test_an_attempt_expires_at_its_deadline_and_not_before(stage: Any) -> None:
    life = await stage.life()
    session = await stage.open_session(life)
    await stage.visit(session)
    early = await stage.close(life, session)
    assert (early.state, early.deadline) == (AttemptState.PENDING, session.expires_at)
    stage.clock.now = session.expires_at
    assert (await stage.close(life, session)).code == "expired"
    row = await stage.session(session.id)
    assert (row.state, row.reason) == (AttemptState.FAILED, "expired")
    assert [visit.sealed_verifier for visit in await stage.visits(session)] == [None]


async def test_a_callback_that_came_first_is_not_declared_expired(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    stage.clock.now = session.expires_at
    assert (await stage.close(life, session)).ending is Ending.RELOAD
    assert (await stage.session(session.id)).state == AttemptState.EXCHANGING


async def test_a_callback_that_comes_while_the_attempt_is_being_closed_wins(stage: Any) -> None:
    """Its browser was in time, by the clock of another machine."""
    life = await stage.life()
    session = await stage.open_session(life)
    visit = await stage.visit(session)
    stage.clock.now = session.expires_at
    code = await stage.consent(session, "admin", (ENGINEERING,))

    async def callback() -> None:
        await stage.consume(session, visit, code, at=session.created_at)

    result = await stage.close(life, session, stage.interposed(callback))
    assert result.ending is Ending.RELOAD
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED


async def test_a_failed_attempt_destroys_its_own_candidate_and_no_other(stage: Any) -> None:
    life = await stage.life()
    first = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    second = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    for session in (first, second):
        assert (await stage.advance(life, session)).state is AttemptState.AWAITING_SELECTION
    await choose(stage, second, SUPPORT)
    async with stage.deps.db.transaction() as tx:
        assert await sessions.await_selection(tx, await stage.session(first.id), [], stage.clock.now)
    assert (await stage.close(life, first)).code == "expired"
    assert len(await stage.candidates(second)) == 1
    assert (await stage.advance(life, second)).ending is Ending.CREDENTIALED


async def test_a_failed_attempt_on_a_living_life_touches_nothing_else(stage: Any) -> None:
    life = await stage.connected()
    before, row, events = await stage.secrets(life), await stage.row(life), await stage.events(life)
    session = await stage.come_back(life)
    await stage.fault("token", "drop_after")
    await stage.advance(life, session)
    assert await stage.secrets(life) == before
    assert (await stage.row(life)).revision == row.revision
    assert await stage.events(life) == events
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
