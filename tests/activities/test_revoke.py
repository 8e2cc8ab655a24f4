"""The end of a life: what is said upstream, and that the secret is gone in any case (law 10)."""

from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import col, delete, update

from activities.ids import ids_of
from activities.load import load
from activities.messages import Ending, LifeIds, RevokeResult
from activities.revoke import revoke
from domain.life import AttemptState, Kind, Status
from providers.catalog import Catalog
from vault import sessions
from vault.crypto import Owner
from vault.tables import ClientSecret, Event, Life

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def buried(stage: Any, life: Any, upstream: str) -> None:
    """Everything a finished deletion promises."""
    row, stone = await stage.row(life), await stage.tombstone(life)
    assert (row.status, row.revoked_at, row.next_due_at) == (Status.REVOKED, stage.clock.now, None)
    assert (stone.upstream, stone.finished_at) == (upstream, stage.clock.now)
    assert await stage.credentials(life) == []
    assert (await stage.events(life))[-1] == "deleted"
    last = max(await stage.all(Event, life_id=life.id), key=lambda event: event.sequence)
    assert last.data["upstream"] == upstream
    assert (await load(stage.deps, ids_of(life))).status == Status.REVOKED


async def test_without_a_tombstone_nothing_is_revoked(stage: Any) -> None:
    """A `delete` signal sent by hand ends no life: deletion goes through the API."""
    life = await stage.connected()
    before = await stage.secrets(life)
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.RELOAD)
    assert await stage.secrets(life) == before
    assert (await stage.row(life)).status == Status.ACTIVE


async def test_a_provider_that_can_is_told_and_confirms(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    secrets = await stage.secrets(life)
    await stage.entomb(life)
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.DONE, "confirmed")
    assert not await stage.valid("refresh", secrets.refresh)
    assert not await stage.valid("access", secrets.access)
    await buried(stage, life, "confirmed")


async def test_law_10_a_provider_without_revocation_is_unsupported_and_the_secret_goes(stage: Any) -> None:
    life = await stage.connected()
    await stage.entomb(life)
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.DONE, "unsupported")
    await buried(stage, life, "unsupported")


async def test_a_grant_that_another_life_uses_is_kept_until_the_last_one_goes(stage: Any) -> None:
    deps = stage.deps
    first = await stage.connected(Kind.CONNECTION, provider="plain", user_id="ann")
    second = await stage.connected(Kind.CONNECTION, provider="plain", user_id="bob")
    secrets = [await stage.secrets(life) for life in (first, second)]
    await stage.entomb(first)
    assert (await revoke(deps, ids_of(first))).upstream == "kept_shared"
    await buried(stage, first, "kept_shared")
    assert await stage.asked("plain.revoke") == 0
    assert await stage.valid("refresh", secrets[0].refresh)

    await stage.entomb(second)
    assert (await revoke(deps, ids_of(second))).upstream == "confirmed"
    assert not await stage.valid("refresh", secrets[1].refresh)


async def test_the_provider_is_tried_for_a_quarter_of_an_hour_from_the_first_attempt(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    await stage.entomb(life)
    stage.clock.advance(hours=3)  # the engine was away
    await stage.fault("plain.revoke", "status", status=503, times=None)
    for _ in range(2):
        assert (await revoke(stage.deps, ids_of(life))).ending is Ending.STUMBLED
        assert len(await stage.credentials(life)) == 1
        stage.clock.advance(minutes=7)
    stage.clock.advance(minutes=1)
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.DONE, "unconfirmed")
    await buried(stage, life, "unconfirmed")


@ON_ONE
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "drop_after"}, {"kind": "drop_before"}])
async def test_a_provider_that_answers_later_confirms_after_all(stage: Any, fault: dict[str, Any]) -> None:
    life = await stage.connected(provider="plain")
    await stage.entomb(life)
    await stage.fault("plain.revoke", **fault)
    assert (await revoke(stage.deps, ids_of(life))).ending is Ending.STUMBLED
    stage.clock.advance(minutes=1)
    assert (await revoke(stage.deps, ids_of(life))).upstream == "confirmed"


async def test_a_second_run_says_what_the_first_one_did(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    await stage.entomb(life)
    await revoke(stage.deps, ids_of(life))
    again = await revoke(stage.deps, ids_of(life))
    assert again == RevokeResult(Ending.DONE, "confirmed")
    assert await stage.asked("plain.revoke") == 1
    assert (await stage.events(life)).count("deleted") == 1


async def test_a_life_that_was_never_active_is_buried_without_a_call(stage: Any) -> None:
    life = await stage.life(provider="plain")
    await stage.entomb(life)
    assert (await revoke(stage.deps, ids_of(life))).ending is Ending.DONE
    assert await stage.asked("plain.revoke") == 0
    assert (await stage.row(life)).status == Status.REVOKED


async def test_open_attempts_end_with_their_life_and_their_candidates_go(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    waiting = await stage.come_back(life, needs_verification=True)
    await stage.advance(life, waiting)
    unvisited = await stage.open_session(life)
    await stage.entomb(life)
    await revoke(stage.deps, ids_of(life))
    for session in (waiting, unvisited):
        row = await stage.session(session.id)
        assert (row.state, row.reason, row.sealed_code) == (AttemptState.FAILED, "deleted", None)
    assert await stage.credentials(life) == []


@ON_ONE
@pytest.mark.parametrize("lacking", ["data key", "client secret", "catalog entry"])
async def test_a_deletion_ends_even_where_the_provider_cannot_be_told(stage: Any, lacking: str) -> None:
    life = await stage.connected(provider="plain")
    deps = stage.deps
    await stage.entomb(life)
    if lacking == "data key":
        await deps.sealer.keys.destroy("default", "acme")
    elif lacking == "client secret":
        async with deps.db.transaction() as tx:
            await tx.exec(delete(ClientSecret).where(col(ClientSecret.provider_config_id) == life.provider_config_id))
    else:
        deps = replace(deps, catalog=Catalog({"jira": deps.catalog["jira"]}))
    assert (await revoke(deps, ids_of(life))).ending is Ending.STUMBLED
    stage.clock.advance(minutes=15)
    assert (await revoke(deps, ids_of(life))).upstream == "unconfirmed"
    await buried(stage, life, "unconfirmed")


async def test_deleting_an_installation_takes_its_connections_with_it(stage: Any) -> None:
    installation = await stage.connected()
    mine = await stage.connected(Kind.CONNECTION, installation_id=installation.id)
    other = await stage.connected(tenant_id="other")
    rows = await stage.entomb(installation)
    assert {row.id for row in rows} == {installation.id, mine.id}
    assert (await load(stage.deps, ids_of(mine))).deleting
    for life in (mine, installation):
        await revoke(stage.deps, ids_of(life))
        await buried(stage, life, "kept_shared" if life.grant_id == other.grant_id else "unsupported")
    assert (await stage.row(other)).deleted_at is None


async def test_what_a_row_tells_its_workflow(stage: Any) -> None:
    life = await stage.connected()
    session = await stage.come_back(life)
    loaded = await load(stage.deps, ids_of(life))
    assert (loaded.status, loaded.deleting, loaded.returned) == (Status.ACTIVE, False, [session.id])
    assert loaded.credential.generation == (await stage.row(life)).generation
    assert [attempt.session_id for attempt in loaded.attempts] == [session.id]

    await stage.fault("token", "status", status=401, body={"error": "access_denied"})
    await stage.refresh(life)
    held = await load(stage.deps, ids_of(life))
    assert held.held_reason == "client_refused"
    assert stage.clock.now < held.held_until <= (await stage.row(life)).next_due_at
    stage.clock.advance(minutes=2)
    assert (await load(stage.deps, ids_of(life))).held_until is None


async def test_a_row_that_is_gone_reads_as_revoked(stage: Any) -> None:
    assert (await load(stage.deps, LifeIds("default", "connection", "jira", "conn_gone"))).status == Status.REVOKED


async def unaccepted(stage: Any, life: Any) -> str:
    """A consent that waits to be confirmed; answers its refresh token."""
    session = await stage.come_back(life, needs_verification=True)
    assert (await stage.advance(life, session)).state is AttemptState.PENDING_VERIFICATION
    (row,) = await stage.candidates(session)
    secrets = await stage.deps.sealer.open(
        Owner(life.workspace_id, life.tenant_id, "life", life.id), "refresh", row.generation, row.sealed_refresh
    )
    return str(secrets)


async def test_what_an_unconfirmed_consent_brought_is_revoked_too(stage: Any) -> None:
    life = await stage.life(provider="plain")
    refresh = await unaccepted(stage, life)
    await stage.entomb(life)
    await stage.fault("plain.revoke", "status", status=503)
    assert (await revoke(stage.deps, ids_of(life))).ending is Ending.STUMBLED
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.DONE, "confirmed")
    assert not await stage.valid("refresh", refresh)
    await buried(stage, life, "confirmed")


async def test_what_an_unconfirmed_consent_brought_is_kept_where_another_life_uses_the_account(stage: Any) -> None:
    await stage.connected(Kind.CONNECTION, provider="plain", user_id="bob")
    life = await stage.life(Kind.CONNECTION, provider="plain", user_id="ann")
    refresh = await unaccepted(stage, life)
    await stage.entomb(life)
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.DONE, "kept_shared")
    assert await stage.valid("refresh", refresh)
    assert await stage.asked("plain.revoke") == 0


@ON_ONE
async def test_without_revocation_a_consent_that_was_not_confirmed_is_unsupported(stage: Any) -> None:
    life = await stage.life()
    await unaccepted(stage, life)
    await stage.entomb(life)
    assert await revoke(stage.deps, ids_of(life)) == RevokeResult(Ending.DONE, "unsupported")
    await buried(stage, life, "unsupported")


async def test_a_callback_that_comes_while_a_life_is_buried_ends_with_it(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await stage.life(provider="plain")
    session = await stage.open_session(life)
    visit = await stage.visit(session)
    await stage.entomb(life)
    look = sessions.open_sessions
    came: list[bool] = []

    async def look_and_be_overtaken(tx: Any, life_id: str) -> Any:
        found = await look(tx, life_id)
        if not came:
            came.append(await sessions.consume(tx, visit, b"code", stage.clock.now))
        return found

    monkeypatch.setattr(sessions, "open_sessions", look_and_be_overtaken)
    await revoke(stage.deps, ids_of(life))
    row = await stage.session(session.id)
    assert came == [True]
    assert (row.state, row.reason, row.sealed_code) == (AttemptState.FAILED, "deleted", None)


async def test_reading_a_revoked_life_ends_what_is_still_open(stage: Any) -> None:
    life = await stage.life(provider="plain")
    session = await stage.come_back(life)
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(Life).where(col(Life.id) == life.id).values(status=Status.REVOKED))
    assert (await load(stage.deps, ids_of(life))).status == Status.REVOKED
    row = await stage.session(session.id)
    assert (row.state, row.reason, row.sealed_code) == (AttemptState.FAILED, "deleted", None)
