import asyncio

import pytest
from sqlmodel import select

from vault.api_keys import create_key, ensure_workspace, find_key, list_keys, revoke_key
from vault.database import Database
from vault.tables import ApiKey, Workspace


@pytest.mark.parametrize(("role", "prefix"), [("secret", "ap_sk_"), ("publishable", "ap_pk_")])
async def test_a_key_is_found_by_itself_and_says_its_role(db: Database, now, role, prefix: str) -> None:
    key_id, key = await create_key(db, "default", "ci", role, now)
    found = await find_key(db, key)
    assert key.startswith(prefix)
    assert found is not None
    assert (found.id, found.workspace_id, found.name, found.role, found.created_at) == (
        key_id, "default", "ci", role, now,
    )  # fmt: skip


async def test_the_key_itself_is_not_kept(db: Database, now) -> None:
    _, key = await create_key(db, "default", "ci", "secret", now)
    async with db.reading() as tx:
        row = (await tx.exec(select(ApiKey))).one()
    assert key not in repr(row)
    assert key[6:] not in repr(row)


async def test_a_wrong_key_is_nobodys(db: Database, now) -> None:
    key_id, key = await create_key(db, "default", "ci", "secret", now)
    for wrong in ("", key[:-1], key + "x", key.replace("_sk_", "_pk_"), key_id, "ключ"):
        assert await find_key(db, wrong) is None


async def test_a_revoked_key_opens_nothing_and_is_not_listed(db: Database, now) -> None:
    key_id, key = await create_key(db, "default", "old", "secret", now)
    kept_id, _ = await create_key(db, "default", "new", "secret", now)
    assert await revoke_key(db, "default", key_id, now)
    assert await find_key(db, key) is None
    assert [row.id for row in await list_keys(db, "default")] == [kept_id]
    assert not await revoke_key(db, "default", key_id, now)


async def test_keys_are_of_one_workspace(db: Database, now) -> None:
    key_id, key = await create_key(db, "default", "ci", "secret", now)
    assert await list_keys(db, "other") == []
    assert not await revoke_key(db, "other", key_id, now)
    assert await find_key(db, key) is not None


async def test_keys_are_listed_oldest_first(db: Database, clock) -> None:
    made = [(await create_key(db, "default", name, "secret", clock.advance(seconds=1)))[0] for name in "abc"]
    assert [row.id for row in await list_keys(db, "default")] == made


async def test_a_workspace_is_made_once_however_often_it_is_ensured(db: Database, now) -> None:
    await asyncio.gather(*(ensure_workspace(db, "default", now) for _ in range(4)))
    async with db.reading() as tx:
        assert [row.id for row in await tx.exec(select(Workspace))] == ["default"]
