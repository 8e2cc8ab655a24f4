import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from domain.life import Kind, Status
from vault.database import Database
from vault.deletions import entomb
from vault.lives import (
    LifeKey,
    LostRace,
    allot_generation,
    compare_and_set,
    find_or_create,
    get_life,
    itself,
    lock_in_order,
    lock_life,
    sharing,
)
from vault.tables import Life

KEY = LifeKey("default", Kind.CONNECTION, "cfg_1", "acme", "ann", "inst_1")


async def make(db: Database, key: LifeKey, now: Any) -> Life:
    return await find_or_create(db, key, "jira", "user", ["read"], now)


async def test_a_life_begins_pending_with_an_id_of_its_kind(db: Database, now: Any) -> None:
    connection = await make(db, KEY, now)
    installation = await make(db, replace(KEY, kind=Kind.INSTALLATION, user_id="", installation_id=""), now)
    assert (connection.id[:5], installation.id[:5]) == ("conn_", "inst_")
    assert (connection.status, connection.generation, connection.label) == (Status.PENDING, 0, "default")


async def test_the_living_row_of_a_key_is_found_again(db: Database, now: Any) -> None:
    assert (await make(db, KEY, now)).id == (await make(db, KEY, now)).id


@pytest.mark.parametrize(
    "other",
    [
        {"workspace_id": "two"},
        {"kind": Kind.INSTALLATION},
        {"provider_config_id": "cfg_2"},
        {"tenant_id": "other"},
        {"user_id": "bob"},
        {"user_id": ""},
        {"installation_id": "inst_2"},
        {"installation_id": ""},
        {"label": "second"},
    ],
)
async def test_every_part_of_the_key_tells_lives_apart(db: Database, now: Any, other: dict[str, Any]) -> None:
    first = await make(db, KEY, now)
    second = await make(db, replace(KEY, **other), now)
    assert first.id != second.id
    assert second.id == (await make(db, replace(KEY, **other), now)).id


async def test_callers_at_once_get_the_same_life(db: Database, now: Any) -> None:
    made = await asyncio.gather(*(make(db, replace(KEY, user_id="", installation_id=""), now) for _ in range(4)))
    assert len({life.id for life in made}) == 1
    async with db.reading() as tx:
        assert len((await tx.exec(select(Life))).all()) == 1


async def test_after_a_deletion_the_key_begins_another_life(db: Database, now: Any) -> None:
    first = await make(db, KEY, now)
    await entomb(db, first.id, now)
    assert (await make(db, KEY, now)).id != first.id


async def test_two_living_installations_cannot_hold_one_site(db: Database, new_life: Any, now: Any) -> None:
    first, second = [await new_life(Kind.INSTALLATION, label=label) for label in ("one", "two")]
    async with db.transaction() as tx:
        await compare_and_set(tx, first, now, site_id="site")
    with pytest.raises(IntegrityError):
        async with db.transaction() as tx:
            await compare_and_set(tx, second, now, site_id="site")
    await entomb(db, first.id, now)
    async with db.transaction() as tx:
        await compare_and_set(tx, second, now, site_id="site")


async def test_connections_and_siteless_installations_do_not_compete_for_sites(
    db: Database, new_life: Any, now: Any
) -> None:
    rows = [await new_life(Kind.INSTALLATION, label=label) for label in ("one", "two")]
    rows += [await new_life(user_id=user) for user in ("ann", "bob")]
    async with db.transaction() as tx:
        for row in rows:
            await compare_and_set(tx, row, now, site_id="" if row.kind == Kind.INSTALLATION else "site")


async def test_a_write_grows_the_revision_and_a_second_one_from_the_same_reading_is_lost(
    db: Database, life: Life, row_of: Any, clock: Any
) -> None:
    later = clock.advance(seconds=5)
    async with db.transaction() as tx:
        await compare_and_set(tx, life, later, last_error="first")
    with pytest.raises(LostRace):
        async with db.transaction() as tx:
            await compare_and_set(tx, life, later, last_error="second")
    row = await row_of(life)
    assert (row.last_error, row.revision, row.updated_at) == ("first", life.revision + 1, later)


async def test_a_write_from_an_older_generation_is_lost_although_the_revision_fits(
    db: Database, life: Life, row_of: Any, now: Any
) -> None:
    async with db.transaction() as tx:
        await compare_and_set(tx, life, now, generation=2)
    stale = await row_of(life)
    stale.generation = 1
    with pytest.raises(LostRace):
        async with db.transaction() as tx:
            await compare_and_set(tx, stale, now, last_error="late")


async def test_a_lost_race_takes_the_whole_transaction_with_it(
    db: Database, new_life: Any, row_of: Any, now: Any
) -> None:
    first, second = await new_life(user_id="ann"), await new_life(user_id="bob")
    async with db.transaction() as tx:
        await compare_and_set(tx, second, now, last_error="somebody")

    async def write_both() -> None:
        async with db.transaction() as tx:
            await compare_and_set(tx, first, now, last_error="mine")
            await compare_and_set(tx, second, now, last_error="mine")

    with pytest.raises(LostRace):
        await write_both()
    assert (await row_of(first)).last_error == ""


async def test_generations_are_allotted_once_whoever_asks(db: Database, life: Life, row_of: Any) -> None:
    async def take() -> int:
        async with db.transaction() as tx:
            return await allot_generation(tx, life)

    taken = await asyncio.gather(*(take() for _ in range(6)))
    assert sorted(taken) == [1, 2, 3, 4, 5, 6]
    assert (await row_of(life)).revision == life.revision


async def test_writers_of_one_life_come_one_after_the_other(db: Database, life: Life, row_of: Any, now: Any) -> None:
    async def count() -> None:
        async with db.transaction() as tx:
            row = await lock_life(tx, life.id)
            assert row is not None
            await compare_and_set(tx, row, now, failures=row.failures + 1)

    await asyncio.gather(*(count() for _ in range(5)))
    assert (await row_of(life)).failures == 5


async def test_the_rows_of_a_grant_are_the_active_ones_that_name_it(db: Database, new_life: Any, now: Any) -> None:
    ann, bob, eve, dead, none = [await new_life(user_id=user) for user in ("ann", "bob", "eve", "dead", "none")]
    for life in (ann, bob, eve, dead):
        status = Status.NEEDS_REAUTH if life is dead else Status.ACTIVE
        async with db.transaction() as tx:
            await compare_and_set(tx, life, now, grant_id="grant_1", status=status)
    await entomb(db, eve.id, now)
    async with db.transaction() as tx:
        assert list(await lock_in_order(tx, sharing("grant_1"))) == sorted([ann.id, bob.id])
        assert list(await lock_in_order(tx, itself(none.id), sharing(none.grant_id))) == [none.id]


async def test_there_is_no_life_of_an_unknown_id(db: Database) -> None:
    async with db.transaction() as tx:
        assert await get_life(tx, "conn_unknown") is None
        assert await lock_life(tx, "conn_unknown") is None
