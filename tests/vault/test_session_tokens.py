import asyncio

import pytest
from sqlmodel import select

from vault.database import Database
from vault.session_tokens import Mandate, Minted, find, mint, use
from vault.tables import SessionToken

MANDATE = Mandate("default", "connection", "jira", "acme", "ann", scopes=("read",), opener_origin="https://app.example")


@pytest.fixture
async def minted(db: Database, now) -> Minted:
    return await mint(db, MANDATE, now)


async def spend(db: Database, minted: Minted, session_id: str, now) -> bool:
    async with db.transaction() as tx:
        return await use(tx, minted.id, session_id, now)


async def test_a_token_fixes_what_its_minter_said(db: Database, minted: Minted, now) -> None:
    row = await find(db, minted.token, now)
    assert row is not None
    assert (row.workspace_id, row.kind, row.provider_id) == ("default", "connection", "jira")
    assert (row.tenant_id, row.user_id, row.scopes) == ("acme", "ann", ["read"])
    assert (row.opener_origin, row.installation_id, row.redirect_url) == ("https://app.example", "", "")


async def test_a_mandate_without_scopes_differs_from_one_with_none(db: Database, now) -> None:
    for scopes, stored in (((), []), (None, None)):
        token = (await mint(db, Mandate("default", "connection", "jira", "acme", scopes=scopes), now)).token
        row = await find(db, token, now)
        assert row is not None
        assert row.scopes == stored


async def test_the_token_itself_is_neither_kept_nor_shown(db: Database, minted: Minted) -> None:
    async with db.reading() as tx:
        row = (await tx.exec(select(SessionToken))).one()
    assert minted.token.startswith("ap_st_")
    assert minted.token not in repr(row) + repr(minted)


async def test_a_token_opens_one_session_however_many_ask_at_once(db: Database, minted: Minted, now) -> None:
    asked = await asyncio.gather(*(spend(db, minted, f"sess_{number}", now) for number in range(6)))
    assert sorted(asked) == [False] * 5 + [True]
    row = await find(db, minted.token, now)
    assert row is not None
    assert row.session_id == f"sess_{asked.index(True)}"


async def test_a_token_is_not_spent_if_the_session_is_not_stored(db: Database, minted: Minted, now) -> None:
    async def fail() -> None:
        async with db.transaction() as tx:
            await use(tx, minted.id, "sess_1", now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await spend(db, minted, "sess_2", now)


async def test_a_token_lives_ten_minutes(db: Database, minted: Minted, clock) -> None:
    clock.advance(minutes=9, seconds=59)
    assert await find(db, minted.token, clock.now) is not None
    clock.advance(seconds=1)
    assert clock.now == minted.expires_at
    assert await find(db, minted.token, clock.now) is None
    assert not await spend(db, minted, "sess_1", clock.now)


async def test_a_spent_token_still_finds_the_session_it_opened(db: Database, minted: Minted, clock) -> None:
    assert await spend(db, minted, "sess_1", clock.now)
    row = await find(db, minted.token, clock.advance(hours=1))
    assert row is not None
    assert row.session_id == "sess_1"


async def test_an_unknown_token_is_nobodys(db: Database, minted: Minted, now) -> None:
    for wrong in ("", minted.id, minted.token[:-1]):
        assert await find(db, wrong, now) is None
