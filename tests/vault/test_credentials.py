from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from domain.credential import CredentialRef
from vault import credentials
from vault.credentials import Secrets
from vault.crypto import SealBroken, Sealer
from vault.database import Database
from vault.tables import Credential, Life, ProviderConfig


async def stored(db: Database) -> list[Credential]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Credential))).all())


async def current(db: Database, life: Life) -> Credential | None:
    async with db.reading() as tx:
        return await credentials.current(tx, life.id)


async def test_both_halves_open_where_they_were_sealed(
    db: Database, sealer: Sealer, life: Life, new_candidate: Any
) -> None:
    await new_candidate(life)
    (row,) = await stored(db)
    assert await credentials.open_secrets(sealer, life, row) == Secrets("canary-a", "canary-r")
    assert "canary" not in repr(await credentials.open_secrets(sealer, life, row)) + repr(row)
    assert b"canary" not in (row.sealed_access or b"") + (row.sealed_refresh or b"")


async def test_a_credential_without_a_refresh_token_cannot_be_refreshed(
    db: Database, sealer: Sealer, life: Life, now: Any
) -> None:
    sealed = await credentials.seal(sealer, life, 1, Secrets("canary-a", None))
    row = credentials.new_candidate(life, "sess_1", CredentialRef(1, now), sealed)
    assert (await credentials.open_secrets(sealer, life, row)).refresh is None
    assert not credentials.reference(row).refreshable


@pytest.mark.parametrize("moved", ["life", "tenant", "generation", "field"])
async def test_a_ciphertext_that_was_moved_does_not_open(
    sealer: Sealer, life: Life, new_life: Any, new_candidate: Any, moved: str
) -> None:
    row, owner = await new_candidate(life), life
    if moved == "life":
        owner = await new_life(user_id="another")
    elif moved == "tenant":
        owner = await new_life(tenant_id="another")
        owner.id = life.id
    elif moved == "generation":
        row.generation += 1
    else:
        row.sealed_access = row.sealed_refresh
    with pytest.raises(SealBroken):
        await credentials.open_secrets(sealer, owner, row)


async def test_a_candidate_is_its_sessions_own_and_is_not_served(db: Database, life: Life, new_candidate: Any) -> None:
    mine, theirs = await new_candidate(life, "sess_1", 1), await new_candidate(life, "sess_2", 2)
    async with db.reading() as tx:
        assert (await credentials.candidate(tx, life.id, "sess_1")).id == mine.id
        assert (await credentials.candidate(tx, life.id, "sess_2")).id == theirs.id
        assert await credentials.candidate(tx, life.id, "sess_3") is None
    assert await current(db, life) is None


async def test_the_swap_destroys_what_it_replaces_and_leaves_other_candidates(
    db: Database, sealer: Sealer, life: Life, new_current: Any, new_candidate: Any
) -> None:
    old = await new_current(life, "sess_0", 1, "canary-old")
    accepted, other = await new_candidate(life, "sess_1", 2, "canary-new"), await new_candidate(life, "sess_2", 3)
    sealed = await credentials.seal(sealer, life, 4, Secrets("canary-new", "canary-r"))
    async with db.transaction() as tx:
        await credentials.promote(tx, accepted, credentials.reference(accepted, 4), sealed)
    standing = await current(db, life)
    assert (standing.id, standing.generation) == (accepted.id, 4)
    assert (await credentials.open_secrets(sealer, life, standing)).access == "canary-new"
    assert {row.id for row in await stored(db)} == {accepted.id, other.id}
    assert old.id not in {row.id for row in await stored(db)}


async def test_a_refresh_replaces_the_generation_it_saw(
    db: Database, sealer: Sealer, life: Life, new_current: Any, clock: Any
) -> None:
    await new_current(life, generation=1)
    async with db.transaction() as tx:
        await credentials.mark_refused(tx, life.id, 1, clock.now)
    ref = CredentialRef(2, clock.now, clock.now + timedelta(hours=1), True, ["read"])
    sealed = await credentials.seal(sealer, life, 2, Secrets("fresh", "fresh-r"))
    async with db.transaction() as tx:
        assert await credentials.replace_current(tx, life, 1, ref, sealed)
    row = await current(db, life)
    assert credentials.reference(row) == ref
    assert await credentials.open_secrets(sealer, life, row) == Secrets("fresh", "fresh-r")
    assert row.refused_at is None


async def test_a_refresh_that_saw_another_generation_changes_nothing(
    db: Database, sealer: Sealer, life: Life, new_current: Any, now: Any
) -> None:
    await new_current(life, generation=5)
    sealed = await credentials.seal(sealer, life, 6, Secrets("late", "late-r"))
    async with db.transaction() as tx:
        assert not await credentials.replace_current(tx, life, 4, CredentialRef(6, now), sealed)
    row = await current(db, life)
    assert (await credentials.open_secrets(sealer, life, row)).access == "canary-a"


async def test_a_refusal_marks_the_generation_that_was_refused_and_no_newer_one(
    db: Database, life: Life, new_current: Any, now: Any
) -> None:
    await new_current(life, generation=5)
    async with db.transaction() as tx:
        await credentials.mark_refused(tx, life.id, 4, now)
    assert (await current(db, life)).refused_at is None
    async with db.transaction() as tx:
        await credentials.mark_refused(tx, life.id, 5, now)
    assert (await current(db, life)).refused_at == now


async def test_a_life_has_one_current_credential(
    db: Database, life: Life, new_current: Any, new_candidate: Any
) -> None:
    await new_current(life, "sess_1", 1)
    second = await new_candidate(life, "sess_2", 2)

    async def promote_without_swapping() -> None:
        async with db.transaction() as tx:
            (await tx.get(Credential, second.id)).role = credentials.CURRENT

    with pytest.raises(IntegrityError):
        await promote_without_swapping()


async def test_a_generation_is_used_once(life: Life, new_candidate: Any) -> None:
    await new_candidate(life, "sess_1", 1)
    with pytest.raises(IntegrityError):
        await new_candidate(life, "sess_2", 1)


async def test_destroying_an_attempts_candidate_leaves_everything_else(
    db: Database, life: Life, new_current: Any, new_candidate: Any
) -> None:
    standing = await new_current(life, "sess_1", 1)
    other = await new_candidate(life, "sess_3", 3)
    await new_candidate(life, "sess_2", 2)
    async with db.transaction() as tx:
        await credentials.destroy(tx, life.id, session_id="sess_2")
        await credentials.destroy(tx, life.id, session_id="sess_1")  # its candidate was promoted
    assert {row.id for row in await stored(db)} == {standing.id, other.id}


async def test_destroying_a_lifes_secrets_leaves_other_lives_alone(
    db: Database, life: Life, new_life: Any, new_current: Any, new_candidate: Any
) -> None:
    await new_current(life, "sess_1", 1)
    await new_candidate(life, "sess_2", 2)
    other = await new_current(await new_life(user_id="another"))
    async with db.transaction() as tx:
        await credentials.destroy(tx, life.id)
    assert [row.id for row in await stored(db)] == [other.id]


async def test_a_life_is_read_with_its_credential_and_config_as_they_stand(
    db: Database, life: Life, new_current: Any, now: Any
) -> None:
    config = ProviderConfig(
        id=life.provider_config_id, workspace_id="default", provider_id="jira", client_id="app", secret_version=1,
        enabled=True, trust_publishable_sessions=False, verify_user=False,
        attachment="user", oauth_redirect_url="http://localhost/", scopes=["read"], created_at=now, updated_at=now,
    )  # fmt: skip
    assert await credentials.with_its_rows(db, life.id) is None
    standing = await new_current(life)
    async with db.transaction() as tx:
        tx.add(config)
    found = await credentials.with_its_rows(db, life.id)
    assert found is not None
    async with db.reading() as tx:
        row = await tx.get(Life, life.id)
    assert row is not None
    assert [one.model_dump() for one in found] == [one.model_dump() for one in (row, standing, config)]
