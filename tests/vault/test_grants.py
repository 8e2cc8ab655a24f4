import asyncio
from typing import Any

from sqlmodel import select

from vault.database import Database
from vault.grants import join_grant
from vault.tables import AccountGrant, Life


async def join(db: Database, life: Life, account: str, now: Any, scopes: list[str] | None = None) -> str:
    async with db.transaction() as tx:
        return await join_grant(tx, life, account, scopes, now)


async def grants(db: Database) -> list[AccountGrant]:
    async with db.reading() as tx:
        return list((await tx.exec(select(AccountGrant))).all())


async def test_lives_of_one_account_and_app_share_a_grant(db: Database, new_life: Any, clock: Any) -> None:
    first, second = await new_life(user_id="ann"), await new_life(tenant_id="other")
    made = await join(db, first, "account", clock.now, ["read"])
    assert await join(db, second, "account", clock.advance(hours=1), ["read", "write"]) == made
    (grant,) = await grants(db)
    assert (grant.revision, grant.granted_at, grant.scopes) == (2, clock.now, ["read", "write"])


async def test_another_account_or_another_app_is_another_grant(db: Database, new_life: Any, now: Any) -> None:
    life, other_app = await new_life(), await new_life(provider_config_id="cfg_2")
    made = {
        await join(db, life, "one", now),
        await join(db, life, "two", now),
        await join(db, other_app, "one", now),
    }
    assert len(made) == 3


async def test_an_account_that_cannot_be_told_has_no_grant(db: Database, life: Life, now: Any) -> None:
    assert await join(db, life, "", now) == ""
    assert await grants(db) == []


async def test_lives_that_come_at_once_share_one_too(db: Database, new_life: Any, now: Any) -> None:
    lives = [await new_life(user_id=str(n)) for n in range(4)]
    joined = await asyncio.gather(*(join(db, life, "account", now) for life in lives))
    assert len(set(joined)) == 1
    (grant,) = await grants(db)
    assert grant.revision == 4
