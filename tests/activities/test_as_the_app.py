"""The builder's app at the provider: its two client secrets, and the hold while the provider refuses it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from activities.ids import ids_of
from activities.messages import Ending, RefreshOrder
from activities.refresh import TOKEN_UNCHANGED, refresh
from activities.revoke import revoke
from domain.life import AttemptState, Kind, Status
from vault import configs, holds
from vault.tables import Credential, TokenAttempt

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
REFUSED = {"status": 401, "body": {"error": "invalid_client"}}
TOKEN = "plain.token"
PATH = "/plain/token"


async def change_secret(stage: Any, secret: str = "not-known-to-the-provider") -> None:
    config = stage.configs["plain"]
    await configs.change(stage.deps.db, stage.deps.sealer, "default", config.id, stage.clock.now, client_secret=secret)


async def active(stage: Any, user: str = "ann") -> Any:
    return await stage.connect(await stage.life(Kind.CONNECTION, "plain", user_id=user))


# --- the previous secret --------------------------------------------------------------------------------------------


async def test_a_consent_succeeds_with_the_secret_the_provider_still_knows(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    session = await stage.come_back(life)
    await change_secret(stage)
    assert (await stage.advance(life, session)).state is AttemptState.COMPLETED
    assert (await stage.asked(TOKEN), await stage.outcomes(life, "exchange")) == (2, ["succeeded"])


async def test_a_code_is_shown_to_the_provider_once_where_the_client_was_not_refused(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    session = await stage.come_back(life)
    await change_secret(stage, "authpipe-dev-secret")
    await stage.fault(TOKEN, "status", status=400, body={"error": "invalid_grant"})
    assert (await stage.advance(life, session)).code == "code_refused"
    assert await stage.asked(TOKEN) == 1


async def test_a_revocation_is_told_with_the_secret_the_provider_still_knows(stage: Any) -> None:
    life = await active(stage)
    await change_secret(stage)
    await stage.entomb(life)
    assert (await revoke(stage.deps, ids_of(life))).upstream == "confirmed"
    assert await stage.asked("plain.revoke") == 2


# --- the hold -------------------------------------------------------------------------------------------------------


async def test_after_a_hold_one_connection_tries_and_the_others_wait_for_it(stage: Any) -> None:
    first, second = await active(stage), await active(stage, "bob")
    await stage.fault(TOKEN, "status", **REFUSED)
    await stage.refresh(first)
    await stage.end_pause("plain")
    seen: list[Any] = []

    async def the_other() -> None:
        seen.append(await stage.refresh(second))
        seen.append(await stage.refresh(second))

    stage.before_sending(PATH, the_other)
    assert (await stage.refresh(first)).ending is Ending.CREDENTIALED
    assert [result.ending for result in seen] == [Ending.HELD, Ending.HELD]
    assert (await stage.config("plain")).held_until is None
    assert (await stage.refresh(second)).ending is Ending.CREDENTIALED


async def test_of_two_that_end_a_hold_at_once_one_sends(stage: Any, together: Any) -> None:
    first, second = await active(stage), await active(stage, "bob")
    await stage.fault(TOKEN, "status", times=9, **REFUSED)
    await stage.refresh(first)
    await stage.end_pause("plain")
    asked = await stage.asked(TOKEN)
    results = await together(stage.refresh(first), stage.refresh(second))
    assert await stage.asked(TOKEN) == asked + 1
    assert {result.ending for result in results} <= {Ending.HELD, Ending.RELOAD}


async def test_a_new_client_secret_ends_the_hold_of_the_old_one(stage: Any) -> None:
    life = await active(stage)
    await stage.fault(TOKEN, "status", **REFUSED)
    await stage.refresh(life)
    await change_secret(stage, "authpipe-dev-secret")
    config = await stage.config("plain")
    assert (config.held_until, config.held_reason) == (None, "")
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_a_consent_that_goes_through_ends_the_hold(stage: Any) -> None:
    life = await active(stage)
    await stage.fault(TOKEN, "status", **REFUSED)
    await stage.refresh(life)
    await active(stage, "bob")
    assert (await stage.config("plain")).held_until is None


async def test_a_worker_that_wakes_after_its_lease_sends_nothing_and_holds_nobody(stage: Any) -> None:
    life = await active(stage)
    asked, before = await stage.asked(TOKEN), await stage.secrets(life)

    async def late(point: str, _life: str) -> None:
        if point == "refresh.after_intent":
            stage.clock.advance(seconds=31)

    result = await stage.refresh(life, replace(stage.deps, reached=late))
    assert (result.ending, result.code, await stage.asked(TOKEN)) == (Ending.STUMBLED, "unreachable", asked)
    assert (await stage.config("plain")).held_until is None
    assert (await stage.outcomes(life), await stage.secrets(life)) == (["not_sent"], before)


async def test_a_dead_grant_shows_that_the_app_is_accepted_and_frees_the_others(stage: Any) -> None:
    dead, living = await active(stage), await active(stage, "bob")
    await stage.fault(TOKEN, "status", **REFUSED)
    await stage.refresh(dead)
    await stage.end_pause("plain")
    await stage.fault(TOKEN, "status", status=400, body={"error": "invalid_grant"})
    assert (await stage.refresh(dead)).ending is Ending.REFUSED
    assert (await stage.refresh(living)).ending is Ending.CREDENTIALED


async def test_a_hold_that_came_since_the_row_was_read_is_kept(stage: Any) -> None:
    life = await active(stage)
    asked = await stage.asked(TOKEN)

    async def held_now(point: str, _life: str) -> None:
        if point == "refresh.before_intent":
            config = await stage.config("plain")
            async with stage.deps.db.transaction() as tx:
                await holds.misconfigured(tx, config, stage.clock.now, "client_refused")

    assert (await stage.refresh(life, replace(stage.deps, reached=held_now))).ending is Ending.RELOAD
    assert (await stage.asked(TOKEN), await stage.outcomes(life)) == (asked, [])


async def test_a_secret_that_was_replaced_while_it_was_being_refused_holds_nobody(stage: Any) -> None:
    life = await active(stage)
    await stage.fault(TOKEN, "status", **REFUSED)

    async def replace_it() -> None:
        await change_secret(stage, "authpipe-dev-secret")

    stage.before_sending(PATH, replace_it)
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    assert (await stage.config("plain")).held_until is None
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


# --- rows at odds ---------------------------------------------------------------------------------------------------


async def test_a_workflow_that_knows_more_than_the_row_reads_it_again(stage: Any) -> None:
    """An older vault was restored."""
    life = await active(stage)
    asked = await stage.asked(TOKEN)
    ahead = RefreshOrder(ids_of(life), (await stage.row(life)).generation + 3)
    assert (await refresh(stage.deps, ahead)).ending is Ending.RELOAD
    assert await stage.asked(TOKEN) == asked


async def test_a_consent_settles_what_was_sent_of_the_credential_before(stage: Any) -> None:
    life = await active(stage)
    await stage.fault(TOKEN, "drop_after")
    await stage.refresh(life)
    assert await stage.outcomes(life) == [None]
    await stage.connect(life)
    assert await stage.outcomes(life) == ["superseded"]


async def test_a_late_answer_of_a_replaced_credential_changes_nothing(stage: Any) -> None:
    life = await active(stage)

    async def consent_first() -> None:
        await stage.connect(life)

    stage.before_sending(PATH, consent_first)
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    row = await stage.row(life)
    assert (row.status, row.generation) == (Status.ACTIVE, (await stage.credential(life)).generation)
    assert None not in await stage.outcomes(life)


# --- an unchanged token ---------------------------------------------------------------------------------------------


async def same_again(stage: Any, life: Any, **more: Any) -> Any:
    access = (await stage.secrets(life)).access
    body = {"access_token": access, "token_type": "Bearer", **more}
    await stage.fault(TOKEN, "status", status=200, body=body)
    stage.clock.advance(minutes=50)
    return await stage.refresh(life)


async def test_an_unchanged_token_without_a_lifetime_gets_no_new_one(stage: Any) -> None:
    life = await active(stage)
    before, row = await stage.secrets(life), await stage.row(life)
    result = await same_again(stage, life)
    after = await stage.row(life)
    assert (result.ending, result.code) == (Ending.STUMBLED, TOKEN_UNCHANGED)
    assert (after.expires_at, after.generation, after.health) == (row.expires_at, row.generation, "degraded")
    assert await stage.secrets(life) == before
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


@ON_ONE
@pytest.mark.parametrize("more", [{"expires_in": 3600}, {"refresh_token": "another one"}])
async def test_an_unchanged_token_with_something_new_beside_it_is_an_answer(stage: Any, more: dict[str, Any]) -> None:
    life = await active(stage)
    result = await same_again(stage, life, **more)
    assert result.ending is Ending.CREDENTIALED
    assert result.credential.expires_at == stage.clock.now + timedelta(hours=1)
    assert (await stage.secrets(life)).refresh == more.get("refresh_token", (await stage.secrets(life)).refresh)


@ON_ONE
async def test_an_unchanged_token_that_does_not_expire_is_as_good_as_a_new_one(stage: Any) -> None:
    life = await active(stage)
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(Credential).where(col(Credential.life_id) == life.id).values(expires_at=None))
    assert (await same_again(stage, life)).ending is Ending.CREDENTIALED


@ON_ONE
async def test_an_unchanged_token_is_an_answer_to_what_was_sent_before_it(stage: Any) -> None:
    life = await active(stage)
    await stage.fault(TOKEN, "drop_before")
    await stage.refresh(life)
    await stage.set_life(life, expires_at=stage.clock.now)
    async with stage.deps.db.transaction() as tx:
        ended = stage.clock.now + timedelta(minutes=49)
        await tx.exec(update(Credential).where(col(Credential.life_id) == life.id).values(expires_at=ended))
    assert (await same_again(stage, life)).code == TOKEN_UNCHANGED
    assert await stage.outcomes(life) == ["not_handled", "not_handled"]


# --- attempts and Retry-After ---------------------------------------------------------------------------------------


@ON_ONE
async def test_an_attempt_waits_as_long_as_the_provider_asks(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    session = await stage.come_back(life)
    await stage.fault("plain.whoami", "status", status=429, headers={"retry-after": "90"})
    result = await stage.advance(life, session)
    assert (result.ending, result.not_before) == (Ending.STUMBLED, stage.clock.now + timedelta(seconds=90))


async def test_every_attempt_at_a_token_endpoint_was_intended_before(stage: Any) -> None:
    """No call without a row: the ledger and the provider's count agree."""
    life = await active(stage)
    for _ in range(3):
        await stage.refresh(life)
    async with stage.deps.db.transaction() as tx:
        rows = await tx.exec(update(TokenAttempt).where(col(TokenAttempt.life_id) == life.id).values(error_code=""))
    assert rows.rowcount == await stage.asked(TOKEN)
