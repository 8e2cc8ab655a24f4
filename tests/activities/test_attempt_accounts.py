"""Which site and which account a consent is bound to: never guessed, never swapped (law 9)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from activities.messages import Ending
from domain.life import AttemptState, Kind, Status
from tests.activities.attempts import choose, failed

ENGINEERING, SUPPORT = "Acme Engineering", "Acme Support"

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


# --- the site ---------------------------------------------------------------------------------------------------------


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


# --- the account ------------------------------------------------------------------------------------------------------


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
