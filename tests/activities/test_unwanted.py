"""A consent that is refused: the living credential stands, and upstream only what is nobody's is revoked."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from activities.ids import ids_of
from activities.messages import Ending
from activities.revoke import revoke
from domain.life import AttemptState, Kind, Status
from vault import configs, sessions
from vault.configs import NewConfig

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
REVOKE = "plain.revoke"


async def active(stage: Any, user: str = "ann", person: str = "admin") -> Any:
    life = await stage.life(Kind.CONNECTION, "plain", user_id=user)
    return await stage.connect(life, person)


async def test_a_consent_of_another_account_is_revoked_upstream_where_nobody_uses_it(stage: Any) -> None:
    life = await active(stage)
    before = await stage.secrets(life)
    session = await stage.come_back(life, "member")
    assert (await stage.advance(life, session)).code == "account_mismatch"
    assert await stage.asked(REVOKE) == 1
    assert await stage.candidates(session) == []
    assert [grant["alive"] for grant in await stage.ask("GET", "grants")].count(True) == 1
    assert await stage.secrets(life) == before
    assert await stage.valid("refresh", before.refresh)


async def test_a_consent_of_an_account_that_another_life_uses_is_kept_and_that_life_looks(stage: Any) -> None:
    life, other = await active(stage), await active(stage, "bob", "member")
    session = await stage.come_back(life, "member")
    assert (await stage.advance(life, session)).code == "account_mismatch"
    assert await stage.asked(REVOKE) == 0
    assert await stage.candidates(session) == []
    assert (await stage.row(other)).probe_at == stage.clock.now
    assert await stage.valid("refresh", (await stage.secrets(other)).refresh)


async def test_a_consent_with_fewer_scopes_than_the_life_holds_is_refused_and_its_own_grant_kept(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    await stage.advance(life, await stage.come_back(life, scopes=["read", "write"]))
    before = await stage.secrets(life)
    session = await stage.come_back(life, scopes=["read"])
    async with stage.deps.db.transaction() as tx:
        asked = await tx.get(type(session), session.id)
        asked.scopes = ["read", "write"]  # the provider granted less than was asked

    result = await stage.advance(life, await stage.session(session.id))

    row = await stage.session(session.id)
    assert (result.code, row.reason, row.expected) == ("scopes_missing", "scopes_missing", "write")
    assert await stage.asked(REVOKE) == 0
    assert await stage.secrets(life) == before
    assert (await stage.row(life)).probe_at == stage.clock.now, "a later consent may have changed the grant"


async def test_a_consent_that_asks_for_less_may_grant_less(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    await stage.advance(life, await stage.come_back(life, scopes=["read", "write"]))
    result = await stage.advance(life, await stage.come_back(life, scopes=["read"]))
    assert (result.state, (await stage.row(life)).granted_scopes) == (AttemptState.COMPLETED, ["read"])


async def test_more_scopes_are_taken_on_while_the_life_is_active(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    await stage.advance(life, await stage.come_back(life, scopes=["read"]))
    result = await stage.advance(life, await stage.come_back(life, scopes=["read", "write"]))
    row = await stage.row(life)
    assert (row.id, row.status, row.granted_scopes) == (life.id, Status.ACTIVE, ["read", "write"])
    assert result.credential.generation == row.generation


@ON_ONE
async def test_a_consent_nobody_confirmed_is_revoked_when_its_time_is_over(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    session = await stage.come_back(life, needs_verification=True)
    stage.clock.now = (await stage.advance(life, session)).deadline
    assert (await stage.close(life, session)).code == "expired"
    assert await stage.asked(REVOKE) == 1
    assert not (await stage.grant())["alive"]


@ON_ONE
async def test_a_consent_whose_account_nobody_knows_is_not_revoked(stage: Any) -> None:
    life = await stage.life(Kind.CONNECTION, "plain", user_id="ann")
    await stage.fault("plain.whoami", "status", status=401)
    session = await stage.come_back(life)
    assert (await stage.advance(life, session)).code == "probe_refused"
    assert await stage.asked(REVOKE) == 0
    assert await stage.candidates(session) == []


@ON_ONE
async def test_a_provider_that_stumbles_does_not_keep_the_attempt_open(stage: Any) -> None:
    life = await active(stage)
    await stage.fault(REVOKE, "status", status=503)
    session = await stage.come_back(life, "member")
    result = await stage.advance(life, session)
    assert (result.ending, result.code) == (Ending.MOVED, "account_mismatch")
    assert (await stage.session(session.id)).state == AttemptState.FAILED


@ON_ONE
async def test_a_deletion_tells_of_what_an_open_attempt_brought_as_well(stage: Any) -> None:
    """The current credential is one account's, what waits for its confirmation another's."""
    life = await active(stage)
    session = await stage.come_back(life, "admin", needs_verification=True)
    await stage.advance(life, session)
    await stage.entomb(life)
    assert (await revoke(stage.deps, ids_of(life))).upstream == "confirmed"
    assert await stage.asked(REVOKE) == 2
    assert [grant["alive"] for grant in await stage.ask("GET", "grants")].count(True) == 0


async def test_a_consent_is_kept_while_another_attempt_may_have_brought_the_same_account(stage: Any) -> None:
    """At a provider with one grant for each account, revoking the one would end the other."""
    life = await active(stage)
    other = await stage.life(Kind.CONNECTION, "plain", user_id="bob")
    waiting = await stage.come_back(other, "member", needs_verification=True)
    await stage.advance(other, waiting)
    assert (await stage.advance(life, await stage.come_back(life, "member"))).code == "account_mismatch"
    assert await stage.asked(REVOKE) == 0


@ON_ONE
async def test_a_consent_is_kept_while_an_attempt_of_an_unknown_account_is_under_way(stage: Any) -> None:
    life = await active(stage)
    other = await stage.life(Kind.CONNECTION, "plain", user_id="bob")
    await stage.come_back(other, "member")
    assert (await stage.advance(life, await stage.come_back(life, "member"))).code == "account_mismatch"
    assert await stage.asked(REVOKE) == 0


@ON_ONE
async def test_a_grant_that_another_workspace_uses_through_the_same_app_is_kept(stage: Any) -> None:
    life, other = await active(stage), await active(stage, "bob", "member")
    twin = await configs.create(
        stage.deps.db,
        stage.deps.sealer,
        "another",
        NewConfig("plain", "authpipe-dev", "authpipe-dev-secret", "http://127.0.0.1:8080/oauth/callback", "user"),
        stage.clock.now,
    )
    await stage.set_life(other, workspace_id="another", provider_config_id=twin.id)
    assert (await stage.advance(life, await stage.come_back(life, "member"))).code == "account_mismatch"
    assert await stage.asked(REVOKE) == 0


async def test_the_marks_are_made_with_the_refusal(stage: Any) -> None:
    """The worker dies right after it: the sibling is marked all the same."""
    life, other = await active(stage), await active(stage, "bob", "member")
    session = await stage.come_back(life, "member")
    result = await stage.advance(life, session)
    assert [sibling.life_id for sibling in result.siblings] == [other.id]
    await stage.set_life(other, probe_at=None)

    session = await stage.come_back(life, "member")
    deps = stage.interposed(None, None, None, "answer_lost")
    with pytest.raises(OperationalError):
        await stage.advance(life, session, deps)
    assert (await stage.session(session.id)).state == AttemptState.FAILED
    assert (await stage.row(other)).probe_at == stage.clock.now


async def test_an_exchange_that_comes_too_late_keeps_no_secret(stage: Any) -> None:
    """The worker was held until its attempt had been ended by another."""
    life = await active(stage)
    session = await stage.come_back(life)

    async def end_it(point: str, _life: str) -> None:
        if point == "exchange.before_commit":
            async with stage.deps.db.transaction() as tx:
                assert await sessions.finish(tx, await stage.session(session.id), stage.clock.now, reason="expired")

    await stage.advance(life, session, replace(stage.deps, reached=end_it))
    assert await stage.candidates(session) == []
    assert await stage.outcomes(life, "exchange") == ["succeeded", "superseded"]


async def test_an_exchange_of_a_life_that_was_deleted_meanwhile_keeps_no_secret(stage: Any) -> None:
    life = await active(stage)
    session = await stage.come_back(life)

    async def bury(point: str, _life: str) -> None:
        if point == "exchange.before_commit":
            await stage.entomb(life)
            assert (await revoke(stage.deps, ids_of(life))).ending is Ending.DONE

    await stage.advance(life, session, replace(stage.deps, reached=bury))
    assert await stage.credentials(life) == []
