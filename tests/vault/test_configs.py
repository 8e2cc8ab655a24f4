import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import col, select, update

from domain.life import Kind, Status
from vault import configs
from vault.configs import ConfigChanged, ConfigInUse, NewConfig
from vault.crypto import Owner, SealBroken, Sealer
from vault.database import Database
from vault.lives import LifeKey, find_or_create
from vault.tables import ClientSecret, Life, ProviderConfig

CANARY = "canary-client-secret"
NEW = NewConfig("jira", "client-1", CANARY, "https://auth.example/oauth/callback", "user", scopes=["read"])


@pytest.fixture
async def config(db: Database, sealer: Sealer, now) -> ProviderConfig:
    return await configs.create(db, sealer, "default", NEW, now)


@pytest.fixture
def change(db: Database, sealer: Sealer, config: ProviderConfig, clock):
    async def change(**what: Any) -> ProviderConfig | None:
        return await configs.change(db, sealer, "default", config.id, clock.now, **what)

    return change


@pytest.fixture
async def life(db: Database, config: ProviderConfig, now) -> Life:
    """A connection that was never active yet."""
    key = LifeKey("default", Kind.CONNECTION, config.id, "acme", "ann")
    return await find_or_create(db, key, "jira", "user", ["read"], now)


async def stored(db: Database, config_id: str, workspace_id: str = "default") -> ProviderConfig | None:
    async with db.reading() as tx:
        return await configs.get(tx, workspace_id, config_id)


async def set_life(db: Database, life: Life, **values: Any) -> None:
    async with db.transaction() as tx:
        await tx.exec(update(Life).where(col(Life.id) == life.id).values(**values))


async def test_a_config_comes_back_as_it_was_made(db: Database, config: ProviderConfig, now) -> None:
    found = await stored(db, config.id)
    assert found == config
    assert (found.provider_id, found.client_id, found.scopes, found.bot_scopes) == ("jira", "client-1", ["read"], None)
    assert (found.enabled, found.verify_user, found.trust_publishable_sessions) == (True, False, False)
    assert (found.revision, found.secret_version, found.created_at) == (1, 1, now)


async def test_the_client_secret_is_kept_sealed_and_not_shown(db: Database, sealer: Sealer, config, now) -> None:
    async with db.reading() as tx:
        row = (await tx.exec(select(ClientSecret))).one()
    assert CANARY not in repr(row) + repr(NEW)
    assert CANARY.encode() not in (row.sealed_secret or b"")
    assert await configs.client_secrets(db, sealer, config.id, now) == [CANARY]


async def test_another_workspace_sees_no_config_of_ours(db: Database, sealer: Sealer, config, now) -> None:
    assert await stored(db, config.id, "other") is None
    assert await configs.change(db, sealer, "other", config.id, now, enabled=False) is None
    assert not await configs.delete(db, "other", config.id, now)
    async with db.reading() as tx:
        assert await configs.search(tx, "other") == []


async def test_search_gives_the_newest_first_and_takes_conditions(db: Database, sealer: Sealer, clock) -> None:
    made = [
        await configs.create(db, sealer, "default", replace(NEW, client_id=name), clock.advance(seconds=1))
        for name in ("a", "b", "c")
    ]
    await configs.delete(db, "default", made[1].id, clock.now)
    async with db.reading() as tx:
        assert [row.client_id for row in await configs.search(tx, "default")] == ["c", "a"]
        assert [row.client_id for row in await configs.search(tx, "default", limit=1, offset=1)] == ["a"]
        some = await configs.search(tx, "default", col(ProviderConfig.client_id) == "a")
        assert [row.client_id for row in some] == ["a"]


async def test_what_is_not_given_stays(change, db: Database, config: ProviderConfig, clock) -> None:
    clock.advance(minutes=1)
    changed = await change(enabled=False, scopes=None)
    assert changed == await stored(db, config.id)
    assert (changed.enabled, changed.scopes, changed.client_id, changed.secret_version) == (False, None, "client-1", 1)
    assert (changed.revision, changed.updated_at) == (2, clock.now)


async def test_a_change_of_an_older_revision_is_refused(change, db: Database, config: ProviderConfig) -> None:
    await change(enabled=False, revision=1)
    with pytest.raises(ConfigChanged) as caught:
        await change(enabled=True, client_secret="late", revision=1)
    assert caught.value.revision == 2
    assert (await stored(db, config.id)).enabled is False


async def test_a_replaced_client_secret_stays_second_for_a_day(change, db: Database, sealer, config, clock) -> None:
    await change(client_secret="second")
    assert await configs.client_secrets(db, sealer, config.id, clock.now) == ["second", CANARY]
    clock.advance(hours=23, minutes=59)
    assert await configs.client_secrets(db, sealer, config.id, clock.now) == ["second", CANARY]
    clock.advance(minutes=1)
    assert await configs.client_secrets(db, sealer, config.id, clock.now) == ["second"]


async def test_of_many_client_secrets_the_last_two_are_used(change, db: Database, sealer, config, now) -> None:
    for secret in ("second", "third"):
        await change(client_secret=secret)
    assert await configs.client_secrets(db, sealer, config.id, now) == ["third", "second"]


async def test_secrets_changed_at_once_all_get_versions_of_their_own(change, db: Database, sealer, config, now) -> None:
    await asyncio.gather(*(change(client_secret=f"secret-{number}") for number in range(4)))
    assert (await stored(db, config.id)).secret_version == 5
    current, previous = await configs.client_secrets(db, sealer, config.id, now)
    assert {current, previous} <= {f"secret-{number}" for number in range(4)}


async def test_a_version_of_a_secret_does_not_open_as_another(change, db: Database, sealer, config, now) -> None:
    await change(client_secret="second")
    async with db.transaction() as tx:
        first, second = (await tx.exec(select(ClientSecret).order_by(col(ClientSecret.version)))).all()
        second.sealed_secret = first.sealed_secret
    with pytest.raises(SealBroken):
        await configs.client_secrets(db, sealer, config.id, now)


async def test_only_retired_secrets_are_destroyed(change, db: Database, sealer, config, clock) -> None:
    await change(client_secret="second")
    clock.advance(hours=24)
    for destroyed in (1, 0):
        async with db.transaction() as tx:
            assert await configs.destroy_retired(tx, clock.now) == destroyed
    assert await configs.client_secrets(db, sealer, config.id, clock.now) == ["second"]


async def test_a_signing_key_is_sealed_and_kept_through_other_changes(change, sealer: Sealer, config) -> None:
    assert config.sealed_signing_key is None
    await change(signing_key="canary-signing")
    changed = await change(enabled=False)
    owner = Owner("default", "", "provider_config", config.id)
    assert await sealer.open(owner, "signing_key", 1, changed.sealed_signing_key) == "canary-signing"


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.NEEDS_REAUTH])
async def test_a_config_in_use_keeps_its_app_and_cannot_be_deleted(
    change, db: Database, config: ProviderConfig, life: Life, now, status: Status
) -> None:
    await set_life(db, life, status=status)
    for what in ({"client_id": "client-2"}, {"provider_id": "asana"}):
        with pytest.raises(ConfigInUse) as caught:
            await change(client_secret="not stored", **what)
        assert caught.value.living == 1
    with pytest.raises(ConfigInUse):
        await configs.delete(db, "default", config.id, now)
    assert await stored(db, config.id) == config


async def test_a_consent_that_is_not_accepted_yet_holds_its_app(
    change, db: Database, config: ProviderConfig, life: Life, new_candidate, now
) -> None:
    await new_candidate(life)
    with pytest.raises(ConfigInUse):
        await change(client_id="client-2")
    with pytest.raises(ConfigInUse):
        await configs.delete(db, "default", config.id, now)
    assert await stored(db, config.id) == config


async def test_an_empty_client_secret_is_kept_as_one(db: Database, sealer: Sealer, change, config, now) -> None:
    await change(client_secret="")
    assert await configs.client_secrets(db, sealer, config.id, now) == ["", CANARY]


async def test_a_config_in_use_can_be_changed_otherwise(change, db: Database, life: Life) -> None:
    await set_life(db, life, status=Status.ACTIVE)
    changed = await change(client_id="client-1", client_secret="second", enabled=False, scopes=["read", "write"])
    assert (changed.secret_version, changed.enabled) == (2, False)


async def test_lives_that_were_deleted_or_never_active_do_not_hold_a_config(
    change, db: Database, config: ProviderConfig, life: Life, now
) -> None:
    assert (await change(client_id="client-2")).client_id == "client-2"
    await set_life(db, life, status=Status.REVOKED, deleted_at=now)
    assert (await change(provider_id="asana")).provider_id == "asana"
    assert await configs.delete(db, "default", config.id, now)


async def test_a_deleted_config_is_gone_but_its_secret_serves_revocations_for_a_day(
    db: Database, sealer: Sealer, config: ProviderConfig, clock
) -> None:
    assert await configs.delete(db, "default", config.id, clock.now)
    assert await stored(db, config.id) is None
    assert not await configs.delete(db, "default", config.id, clock.now)
    assert await configs.client_secrets(db, sealer, config.id, clock.now) == [CANARY]
    assert await configs.client_secrets(db, sealer, config.id, clock.advance(hours=24)) == []
