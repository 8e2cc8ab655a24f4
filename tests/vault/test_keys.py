import asyncio
import time

import pytest
from sqlmodel import col, select, update

from vault.crypto import Owner, SealBroken, Sealer, key_id_of
from vault.database import Database
from vault.key_store import SqlKeyStore
from vault.keys import CACHED_SECONDS, KeyEncryptionKeyMissing, KeyEncryptionKeyWrong, KeyRing, KeyRingError, Keys
from vault.tables import DataKey

OWNER = Owner("default", "acme", "life", "conn_1")
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def another_process(db: Database, ring: KeyRing, clock) -> Keys:
    return Keys(SqlKeyStore(db), ring, clock)


async def test_a_tenant_gets_one_key_when_two_processes_ask_first_at_once(keys: Keys, another_process: Keys) -> None:
    asked = [each.data_key("default", "acme") for each in (keys, another_process) * 8]
    handles = await asyncio.gather(*asked)
    assert len({(handle.id, handle.secret) for handle in handles}) == 1


async def test_tenants_and_workspaces_have_keys_of_their_own(keys: Keys) -> None:
    owners = [("default", "acme"), ("default", "globex"), ("default", ""), ("other", "acme")]
    handles = [await keys.data_key(*owner) for owner in owners]
    assert len({handle.secret for handle in handles}) == len(owners)


async def test_a_key_is_not_handed_to_another_owner_who_names_it(keys: Keys) -> None:
    ours = await keys.data_key("default", "acme")
    assert await keys.opening_key("default", "acme", ours.id) == ours
    for other in (("default", "globex"), ("other", "acme")):
        assert await keys.opening_key(*other, ours.id) is None


async def test_a_destroyed_key_leaves_its_ciphertext_unreadable(db: Database, keys: Keys, sealer: Sealer) -> None:
    sealed = await sealer.seal(OWNER, "access", 1, "secret")
    await keys.destroy("default", "acme")
    with pytest.raises(SealBroken):
        await sealer.open(OWNER, "access", 1, sealed)
    async with db.reading() as tx:
        row = (await tx.exec(select(DataKey).where(DataKey.tenant_id == "acme"))).one()
    assert row.wrapped is None
    assert row.destroyed_at is not None


async def test_destroying_one_tenants_key_leaves_the_others(keys: Keys, sealer: Sealer) -> None:
    theirs = Owner("default", "globex", "life", "conn_2")
    sealed = await sealer.seal(theirs, "access", 1, "secret")
    await sealer.seal(OWNER, "access", 1, "secret")
    await keys.destroy("default", "acme")
    assert await sealer.open(theirs, "access", 1, sealed) == "secret"


async def test_another_process_never_seals_with_a_destroyed_key(keys: Keys, another_process: Keys) -> None:
    before = await another_process.data_key("default", "acme")
    await keys.destroy("default", "acme")
    after = await another_process.data_key("default", "acme")
    assert after.id != before.id


async def test_another_process_forgets_a_destroyed_key_after_a_while(
    keys: Keys, another_process: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = await Sealer(another_process).seal(OWNER, "access", 1, "secret")
    await keys.destroy("default", "acme")
    later = time.monotonic() + CACHED_SECONDS
    monkeypatch.setattr("vault.keys.monotonic", lambda: later)
    with pytest.raises(SealBroken):
        await Sealer(another_process).open(OWNER, "access", 1, sealed)


async def test_reading_many_tenants_keeps_few_keys_in_memory(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.keys.CACHED_KEYS", 3)
    for number in range(5):
        await keys.data_key("default", f"tenant-{number}")
    assert len(keys._cache) == 3


async def test_rewrapping_moves_every_key_online(db: Database, clock) -> None:
    store = SqlKeyStore(db)
    old = Keys(store, KeyRing({"old": OLD}, active="old"), clock)
    sealed = await Sealer(old).seal(OWNER, "access", 1, "secret")
    for number in range(3):
        await old.data_key("default", f"tenant-{number}")

    assert await Keys(store, KeyRing({"old": OLD, "new": NEW}, active="new"), clock).rewrap() == 4
    alone = Keys(store, KeyRing({"new": NEW}, active="new"), clock)
    await alone.check()
    assert await Sealer(alone).open(OWNER, "access", 1, sealed) == "secret"
    assert (await alone.data_key("default", "acme")).id == key_id_of(sealed)
    assert await alone.rewrap() == 0


async def test_two_rewraps_at_once_change_each_key_once(db: Database, clock) -> None:
    store = SqlKeyStore(db)
    old = Keys(store, KeyRing({"old": OLD}, active="old"), clock)
    for number in range(5):
        await old.data_key("default", f"tenant-{number}")
    both = KeyRing({"old": OLD, "new": NEW}, active="new")
    assert sum(await asyncio.gather(*(Keys(store, both, clock).rewrap() for _ in range(2)))) == 5


async def test_a_missing_key_encryption_key_is_named(db: Database, keys: Keys, clock) -> None:
    await keys.data_key("default", "acme")
    other = Keys(SqlKeyStore(db), KeyRing({"other": NEW}, active="other"), clock)
    with pytest.raises(KeyEncryptionKeyMissing, match="'test'"):
        await other.check()


async def test_a_wrong_key_encryption_key_is_found_at_start(db: Database, keys: Keys, clock) -> None:
    await keys.data_key("default", "acme")
    other = Keys(SqlKeyStore(db), KeyRing({"test": NEW}, active="test"), clock)
    with pytest.raises(KeyEncryptionKeyWrong, match="wrong key-encryption key 'test'"):
        await other.check()


async def test_a_fitting_ring_and_an_empty_vault_pass_the_check(keys: Keys) -> None:
    await keys.check()
    await keys.data_key("default", "acme")
    await keys.check()


async def test_a_wrapped_key_moved_to_another_tenants_row_does_not_open(db: Database, keys: Keys, clock) -> None:
    await keys.data_key("default", "acme")
    async with db.transaction() as tx:
        await tx.exec(update(DataKey).where(col(DataKey.tenant_id) == "acme").values(tenant_id="globex"))
    ring = KeyRing({"test": bytes(range(32))}, active="test")
    with pytest.raises(KeyRingError):
        await Keys(SqlKeyStore(db), ring, clock).data_key("default", "globex")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_encryption_key_of_the_wrong_length_is_refused_without_showing_it(length: int) -> None:
    with pytest.raises(KeyRingError, match=f"has {length}") as caught:
        KeyRing({"k": b"x" * length}, active="k")
    assert "xxx" not in str(caught.value)


def test_the_active_key_must_be_in_the_ring() -> None:
    with pytest.raises(KeyEncryptionKeyMissing):
        KeyRing({"old": OLD}, active="new")
