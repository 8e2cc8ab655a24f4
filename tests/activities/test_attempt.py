"""An attempt at consent: one exchange, the right site, the right account, then the swap; or nothing at all."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from activities.messages import Ending
from domain.life import AttemptState, Kind, Status
from vault import lives, sessions
from vault.tables import Visit

ENGINEERING, SUPPORT = "Acme Engineering", "Acme Support"
TOKEN, SITES = "/oauth/token", "/oauth/token/accessible-resources"

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def failed(stage: Any, session: Any) -> tuple[str, str]:
    """Reason and expectation of a failed attempt; nothing of it may be left."""
    row = await stage.session(session.id)
    assert row.state == AttemptState.FAILED
    assert (row.finished_at, row.sealed_code) == (stage.clock.now, None)
    assert [visit.sealed_verifier for visit in await stage.visits(session)] == [None]
    assert await stage.candidates(session) == []
    return row.reason, row.expected


# --- the swap -----------------------------------------------------------------------------------------------------


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


# --- the code is sent once ----------------------------------------------------------------------------------------


@ON_ONE
@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "truncated"])
async def test_after_a_lost_answer_the_code_is_not_sent_again(stage: Any, fault: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("token", fault)

    result = await stage.advance(life, session)
    again = await stage.advance(life, session)

    assert (result.state, result.code) == (AttemptState.FAILED, "exchange_unknown")
    assert again.state is AttemptState.FAILED
    assert await stage.asked() == 1
    assert await failed(stage, session) == ("exchange_unknown", "")
    assert await stage.outcomes(life, "exchange") == ["unknown"]
    assert (await stage.row(life)).status == Status.PENDING


async def test_a_worker_killed_in_the_exchange_ends_the_attempt_when_its_lease_is_over(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    sent = asyncio.Event()

    async def hang() -> None:
        sent.set()
        await asyncio.Event().wait()

    stage.before_sending(TOKEN, hang)
    task = asyncio.create_task(stage.advance(life, session))
    await asyncio.wait_for(sent.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    waiting = await stage.advance(life, session)
    assert (waiting.ending, waiting.code) == (Ending.STUMBLED, "exchange_running")
    stage.clock.advance(seconds=30)
    assert (await stage.advance(life, session)).code == "exchange_unknown"
    assert await stage.asked() == 0
    assert await failed(stage, session) == ("exchange_unknown", "")


async def test_of_two_workers_at_once_one_sends_the_code(stage: Any, together: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await together(stage.advance(life, session), stage.advance(life, session))
    assert await stage.asked() == 1
    assert (await stage.session(session.id)).state == AttemptState.COMPLETED
    assert await stage.valid("refresh", (await stage.secrets(life)).refresh)
    assert await stage.events(life) == ["created", "activated"]


@ON_ONE
@pytest.mark.parametrize("untouched", ["unreachable", "rate_limited"])
async def test_a_code_that_was_certainly_not_looked_at_may_be_sent_later(stage: Any, untouched: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)

    async def refuse() -> None:
        raise httpx.ConnectError("refused")

    if untouched == "unreachable":
        stage.before_sending(TOKEN, refuse)
    else:
        await stage.fault("token", "status", status=429)
    result = await stage.advance(life, session)
    assert (result.ending, result.state, result.code) == (Ending.STUMBLED, AttemptState.EXCHANGING, untouched)
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED


async def test_a_refused_code_is_the_attempts_failure_alone(stage: Any) -> None:
    life = await stage.connected()
    before = await stage.row(life)
    session = await stage.come_back(life)
    stage.clock.advance(minutes=11)  # the provider's codes live for ten
    assert (await stage.advance(life, session)).code == "code_refused"
    assert await failed(stage, session) == ("code_refused", "")
    assert (await stage.row(life)).revision == before.revision
    assert (await stage.config()).held_until is None


@ON_ONE
async def test_a_wrong_client_secret_fails_the_attempt_and_holds_the_config(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="another")
    assert (await stage.advance(life, session)).code == "client_refused"
    assert await failed(stage, session) == ("client_refused", "")
    assert (await stage.config()).held_reason == "client_refused"


async def test_the_candidate_survives_a_crash_and_the_code_is_not_sent_again(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)

    async def die() -> None:
        raise ZeroDivisionError

    stage.before_sending(SITES, die)
    with pytest.raises(ZeroDivisionError):
        await stage.advance(life, session)
    assert len(await stage.candidates(session)) == 1
    assert (await stage.row(life)).status == Status.PENDING

    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED
    assert await stage.asked() == 1


async def test_code_and_verifier_are_forgotten_once_the_code_was_exchanged(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    assert (await stage.advance(life, session)).state is AttemptState.AWAITING_SELECTION
    assert (await stage.session(session.id)).sealed_code is None
    assert [visit.sealed_verifier for visit in await stage.all(Visit, session_id=session.id)] == [None]


async def test_the_candidate_is_kept_although_the_database_was_away(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    # acknowledge, intend, keep (away twice, then its answer lost), allot, swap
    deps = stage.interposed(None, None, "away", "away", "answer_lost")
    assert (await stage.advance(life, session, deps)).ending is Ending.CREDENTIALED
    assert await stage.asked() == 1


async def test_a_swap_whose_answer_was_lost_is_a_success(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    deps = stage.interposed(None, None, None, None, "answer_lost")
    result = await stage.advance(life, session, deps)
    assert (result.ending, result.state) == (Ending.CREDENTIALED, AttemptState.COMPLETED)
    assert result.credential.generation == (await stage.row(life)).generation
    assert (await stage.session(session.id)).state == AttemptState.COMPLETED
    assert await stage.events(life) == ["created", "activated"]


@pytest.mark.parametrize("step", ["advance", "close"])
async def test_a_worker_that_died_after_the_swap_leaves_a_success_to_be_found(stage: Any, step: str) -> None:
    """The workflow has not heard of the credential: it has to read the row, not to take the attempt for closed."""
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.advance(life, session)
    result = await getattr(stage, step)(life, session)
    assert (result.ending, result.state) == (Ending.RELOAD, AttemptState.COMPLETED)


@ON_ONE
async def test_what_cannot_be_checked_is_tried_again(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("accessible-resources", "status", status=503)
    await stage.fault("myself", "html")
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED


async def test_what_cannot_be_checked_is_not_tried_for_ever(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("accessible-resources", "status", status=503, times=None)
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    stage.clock.advance(minutes=16)
    result = await stage.advance(life, session)
    assert (result.state, result.code) == (AttemptState.FAILED, "server_error")
    assert await failed(stage, session) == ("server_error", "")


# --- the site -----------------------------------------------------------------------------------------------------


@ON_ONE
async def test_no_site_is_a_clear_failure(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, "nosite", ())
    assert (await stage.advance(life, session)).code == "no_site"
    assert await failed(stage, session) == ("no_site", "")


async def test_law_09_several_sites_wait_for_a_choice(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))

    waiting = await stage.advance(life, session)

    assert (waiting.ending, waiting.state) == (Ending.MOVED, AttemptState.AWAITING_SELECTION)
    assert waiting.deadline == stage.clock.now + timedelta(hours=1)
    row = await stage.session(session.id)
    assert {site["name"] for site in row.sites} == {ENGINEERING, SUPPORT}
    assert (await stage.row(life)).status == Status.PENDING
    assert (await stage.advance(life, session)).state is AttemptState.AWAITING_SELECTION

    stage.clock.advance(minutes=50)
    await choose(stage, session, SUPPORT)
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED
    assert (await stage.row(life)).site_name == SUPPORT
    assert await stage.asked() == 1


async def choose(stage: Any, session: Any, name: str) -> None:
    (site_id,) = [site["id"] for site in (await stage.session(session.id)).sites if site["name"] == name]
    async with stage.deps.db.transaction() as tx:
        assert await sessions.choose(tx, session.id, site_id, stage.clock.now)


async def test_a_site_lost_after_the_choice_is_not_replaced_by_the_other(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    await stage.advance(life, session)
    await choose(stage, session, SUPPORT)
    await stage.ask("PUT", "accounts/admin", sites=[ENGINEERING])
    assert (await stage.advance(life, session)).code == "site_lost"
    reason, expected = await failed(stage, session)
    assert (reason, bool(expected)) == ("site_lost", True)


async def test_a_choice_in_an_outage_has_time_to_be_checked(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    await stage.advance(life, session)
    stage.clock.advance(minutes=50)
    await choose(stage, session, SUPPORT)
    await stage.fault("accessible-resources", "status", status=503)
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED


async def test_a_site_that_is_installed_already_is_refused_by_name_of_the_living(stage: Any) -> None:
    living = await stage.connected()
    second = await stage.life(label="second")
    session = await stage.come_back(second)
    result = await asyncio.wait_for(stage.advance(second, session), 5)
    assert (result.state, result.code) == (AttemptState.FAILED, "already_installed")
    assert await failed(stage, session) == ("already_installed", living.id)
    assert (await stage.row(second)).status == Status.PENDING
    assert await stage.valid("refresh", (await stage.secrets(living)).refresh)


async def test_a_site_of_a_deleted_installation_is_free_again(stage: Any) -> None:
    await stage.entomb(await stage.connected())
    assert (await stage.connected()).status == Status.ACTIVE


async def test_a_reauthorisation_without_the_site_leaves_the_credential_untouched(stage: Any) -> None:
    life = await stage.connected()
    before, revision = await stage.secrets(life), (await stage.row(life)).revision
    session = await stage.come_back(life, sites=(SUPPORT,))
    assert (await stage.advance(life, session)).code == "site_mismatch"
    assert await failed(stage, session) == ("site_mismatch", ENGINEERING)
    assert await stage.secrets(life) == before
    assert (await stage.row(life)).revision == revision


# --- the account --------------------------------------------------------------------------------------------------


async def test_law_09_a_reauthorisation_by_another_account_leaves_the_credential_untouched(stage: Any) -> None:
    life = await stage.connected()
    before, row = await stage.secrets(life), await stage.row(life)
    session = await stage.come_back(life, "member")
    assert (await stage.advance(life, session)).code == "account_mismatch"
    assert await failed(stage, session) == ("account_mismatch", row.account_id)
    assert await stage.secrets(life) == before
    assert await stage.valid("access", before.access)
    assert (await stage.row(life)).revision == row.revision


@ON_ONE
@pytest.mark.parametrize(("status", "code"), [(401, "probe_refused"), (403, "probe_failed"), (404, "probe_failed")])
async def test_a_token_that_fails_its_probe_is_not_accepted(stage: Any, status: int, code: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("myself", "status", status=status)
    assert (await stage.advance(life, session)).code == code
    assert await failed(stage, session) == (code, "")


async def test_a_user_connection_needs_an_active_installation(stage: Any) -> None:
    installation = await stage.connected()
    life = await stage.life(Kind.CONNECTION, installation_id=installation.id)
    await stage.ask("POST", "accounts/admin/change-password")
    await stage.refresh(installation)
    session = await stage.come_back(life)
    assert (await stage.advance(life, session)).code == "installation_not_active"
    assert await failed(stage, session) == ("installation_not_active", "")


async def test_a_user_connection_is_bound_to_the_site_of_its_installation(stage: Any) -> None:
    installation = await stage.connected()
    life = await stage.life(Kind.CONNECTION, installation_id=installation.id)
    session = await stage.come_back(life, sites=(SUPPORT,))
    assert (await stage.advance(life, session)).code == "site_mismatch"
    assert await failed(stage, session) == ("site_mismatch", ENGINEERING)

    wide = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    assert (await stage.advance(life, wide)).ending is Ending.CREDENTIALED
    assert (await stage.row(life)).site_id == installation.site_id


async def test_one_account_has_one_grant_behind_installation_and_connection(stage: Any) -> None:
    installation = await stage.connected()
    mine = await stage.connected(Kind.CONNECTION, installation_id=installation.id)
    theirs = await stage.life(Kind.CONNECTION, installation_id=installation.id, user_id="bob")
    theirs = await stage.connect(theirs, "member")
    assert mine.grant_id == installation.grant_id != theirs.grant_id
    by_id = {grant.id: grant for grant in await stage.grants()}
    assert set(by_id) == {mine.grant_id, theirs.grant_id}
    assert (by_id[mine.grant_id].revision, by_id[mine.grant_id].account_id) == (2, mine.account_id)


async def test_two_lives_that_come_to_one_account_at_once_share_its_grant(stage: Any, together: Any) -> None:
    three = [await stage.life(Kind.CONNECTION, provider="plain", user_id=user) for user in ("ann", "bob", "eve")]
    back = [await stage.come_back(life) for life in three]
    results = await together(*(stage.advance(life, session) for life, session in zip(three, back, strict=True)))
    assert [result.code for result in results] == ["", "", ""]
    assert len({(await stage.row(life)).grant_id for life in three}) == 1


# --- whose it is --------------------------------------------------------------------------------------------------


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


# --- the end of an attempt ----------------------------------------------------------------------------------------


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


# --- deletion ------------------------------------------------------------------------------------------------------


async def test_a_tombstoned_life_exchanges_nothing(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.entomb(life)
    assert (await stage.advance(life, session)).code == "deleted"
    assert await stage.asked() == 0
    assert await failed(stage, session) == ("deleted", "")


@pytest.mark.parametrize("moment", [TOKEN, SITES])
async def test_a_tombstone_that_comes_in_between_keeps_the_exchange_from_committing(stage: Any, moment: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    stage.before_sending(moment, lambda: stage.entomb(life))
    assert (await stage.advance(life, session)).code == "deleted"
    assert await failed(stage, session) == ("deleted", "")
    assert (await stage.row(life)).status == Status.PENDING
    assert await stage.events(life) == []


async def test_an_exchange_commits_only_while_its_installation_lives(stage: Any) -> None:
    installation = await stage.connected()
    life = await stage.life(Kind.CONNECTION, installation_id=installation.id)
    session = await stage.come_back(life)
    stage.before_sending(SITES, lambda: stage.entomb(installation))
    assert (await stage.advance(life, session)).state is AttemptState.FAILED
    assert (await stage.row(life)).status == Status.PENDING
    assert await stage.candidates(session) == []


async def test_a_deletion_and_a_swap_at_once_do_not_wait_for_each_other_in_a_circle(stage: Any) -> None:
    """Both lock in the order of the ids; PostgreSQL would break a circle by an error in one of them."""
    installation = await stage.connected()
    life = await stage.life(Kind.CONNECTION, installation_id=installation.id)
    session = await stage.come_back(life)
    deletion: list[asyncio.Task[Any]] = []

    async def begin_deletion() -> None:
        deletion.append(asyncio.create_task(delete_slowly()))
        await asyncio.wait_for(locked.wait(), 10)

    async def delete_slowly() -> None:
        first, second = sorted((installation.id, life.id))
        async with stage.deps.db.transaction() as tx:
            assert await lives.lock_life(tx, first)
            locked.set()
            if stage.deps.db.dialect == "postgresql":
                await somebody_waits(stage)
            assert await lives.lock_life(tx, second)

    locked = asyncio.Event()
    # acknowledge, intend, keep, allot; then the deletion begins; then the swap
    deps = stage.interposed(None, None, None, None, begin_deletion)
    result = await stage.advance(life, session, deps)
    await deletion[0]
    assert (result.ending, deps.db.count) == (Ending.CREDENTIALED, 5)


async def somebody_waits(stage: Any) -> None:
    """Until a backend of this database waits for a lock."""
    async with asyncio.timeout(10), stage.deps.db.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        while not (await connection.execute(query)).scalar_one():  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.01)


# --- promotion against refresh ------------------------------------------------------------------------------------


async def test_a_consent_outranks_a_refresh_that_came_while_it_was_sealed(stage: Any) -> None:
    """The refresh takes a higher number and commits first: the consent takes a higher one still."""
    life = await stage.connected()
    session = await stage.come_back(life)
    # acknowledge, intend, keep, allot; then the refresh; then the swap
    deps = stage.interposed(None, None, None, None, lambda: stage.refresh(life))
    result = await stage.advance(life, session, deps)

    row, credential = await stage.row(life), await stage.credential(life)
    assert result.ending is Ending.CREDENTIALED
    assert result.credential.generation == row.generation == credential.generation
    claimed = [a.generation for a in await stage.ledger(life) + await stage.ledger(life, "exchange")]
    assert row.generation > max(claimed)
    assert credential.session_id == session.id
    assert await stage.valid("access", (await stage.secrets(life)).access)
    assert (await stage.events(life))[-2:] == ["refreshed", "activated"]


async def test_a_consent_and_a_refresh_at_once_leave_one_working_credential(stage: Any, together: Any) -> None:
    life = await stage.connected()
    session = await stage.come_back(life)
    consented, _ = await together(stage.advance(life, session), stage.refresh(life))
    assert consented.ending is Ending.CREDENTIALED
    row, credential = await stage.row(life), await stage.credential(life)
    assert row.generation == credential.generation
    assert credential.session_id == session.id
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
