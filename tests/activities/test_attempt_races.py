"""A consent against a deletion and against a refresh that come at the same moment."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from activities.messages import Ending
from domain.life import AttemptState, Kind, Status
from tests.activities.attempts import failed
from vault import lives

TOKEN, SITES = "/oauth/token", "/oauth/token/accessible-resources"

# --- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_tombstoned_life_exchanges_nothing(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.entomb(life)
    assert (await stage.advance(life, session)).code == "deleted"
    assert await stage.asked() == 0
    assert await failed(stage, session) == ("deleted", "")


@pytest.mark.parametrize("moment", [TOKEN, SITES])
async def test_a_tombstone_that_comes_in_between_keeps_the_exchange_from_committing(stage: Any, moment: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    stage.before_sending(moment, lambda: stage.entomb(life))
    assert (await stage.advance(life, session)).code == "deleted"
    assert await failed(stage, session) == ("deleted", "")
    assert (await stage.row(life)).status == Status.PENDING
    assert await stage.events(life) == []


async def test_an_exchange_commits_only_while_its_installation_lives(stage: Any) -> None:
    installation = await stage.connected()
    life = await stage.life(Kind.CONNECTION, installation_id=installation.id)
    session = await stage.come_back(life)
    stage.before_sending(SITES, lambda: stage.entomb(installation))
    assert (await stage.advance(life, session)).state is AttemptState.FAILED
    assert (await stage.row(life)).status == Status.PENDING
    assert await stage.candidates(session) == []


async def test_a_deletion_and_a_swap_at_once_do_not_wait_for_each_other_in_a_circle(stage: Any) -> None:
    """Both lock in the order of the ids; PostgreSQL would break a circle by an error in one of them."""
    installation = await stage.connected()
    life = await stage.life(Kind.CONNECTION, installation_id=installation.id)
    session = await stage.come_back(life)
    deletion: list[asyncio.Task[Any]] = []

    async def begin_deletion() -> None:
        deletion.append(asyncio.create_task(delete_slowly()))
        await asyncio.wait_for(locked.wait(), 10)

    async def delete_slowly() -> None:
        first, second = sorted((installation.id, life.id))
        async with stage.deps.db.transaction() as tx:
            assert await lives.lock_life(tx, first)
            locked.set()
            if stage.deps.db.dialect == "postgresql":
                await somebody_waits(stage)
            assert await lives.lock_life(tx, second)

    locked = asyncio.Event()
    # acknowledge, intend, keep, allot; then the deletion begins; then the swap
    deps = stage.interposed(None, None, None, None, begin_deletion)
    result = await stage.advance(life, session, deps)
    await deletion[0]
    assert (result.ending, deps.db.count) == (Ending.CREDENTIALED, 5)


async def somebody_waits(stage: Any) -> None:
    """Until a backend of this database waits for a lock."""
    async with asyncio.timeout(10), stage.deps.db._bare.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        while not (await connection.execute(query)).scalar_one():  # noqa: ASYNC110 - another process's fact
            await asyncio.sleep(0.01)


# --- promotion against refresh ----------------------------------------------------------------------------------------


async def test_a_consent_outranks_a_refresh_that_came_while_it_was_sealed(stage: Any) -> None:
    """The refresh takes a higher number and commits first: the consent takes a higher one still."""
    life = await stage.connected()
    session = await stage.come_back(life)
    # acknowledge, intend, keep, allot; then the refresh; then the swap
    deps = stage.interposed(None, None, None, None, lambda: stage.refresh(life))
    result = await stage.advance(life, session, deps)

    row, credential = await stage.row(life), await stage.credential(life)
    assert result.ending is Ending.CREDENTIALED
    assert result.credential.generation == row.generation == credential.generation
    claimed = [a.generation for a in await stage.ledger(life) + await stage.ledger(life, "exchange")]
    assert row.generation > max(claimed)
    assert credential.session_id == session.id
    assert await stage.valid("access", (await stage.secrets(life)).access)
    assert (await stage.events(life))[-2:] == ["refreshed", "activated"]


async def test_a_consent_and_a_refresh_at_once_leave_one_working_credential(stage: Any, together: Any) -> None:
    life = await stage.connected()
    session = await stage.come_back(life)
    consented, _ = await together(stage.advance(life, session), stage.refresh(life))
    assert consented.ending is Ending.CREDENTIALED
    row, credential = await stage.row(life), await stage.credential(life)
    assert row.generation == credential.generation
    assert credential.session_id == session.id
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
