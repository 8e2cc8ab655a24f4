"""Which rows reconciling finds, in which order, and which it leaves alone; page by page."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import col, select, update

from domain.holds import HoldKind
from domain.life import AttemptState, Kind, Status
from vault import reconciling
from vault.database import Database
from vault.paging import pages
from vault.tables import Life, ProviderConfig

MINUTE = timedelta(minutes=1)


@pytest.fixture
def row(db: Database, new_life: Any) -> Any:
    """`await row("ann", status=…)`: a life with these columns; answers its id."""

    async def make(user: str, kind: Kind = Kind.CONNECTION, **columns: Any) -> str:
        key = {name: columns.pop(name) for name in ("installation_id",) if name in columns}
        life = await new_life(kind, user_id=user, **key)
        async with db.transaction() as tx:
            await tx.exec(update(Life).where(col(Life.id) == life.id).values({"status": Status.ACTIVE, **columns}))
        return str(life.id)

    return make


@pytest.fixture
def hold(db: Database, now: Any) -> Any:
    """A provider config of that id; with a time, it is held, and that is when one may try."""

    async def make(config_id: str, until: Any) -> None:
        config = ProviderConfig(
            id=config_id,
            workspace_id="default",
            provider_id="jira",
            client_id="client",
            secret_version=1,
            attachment="user",
            enabled=True,
            oauth_redirect_url="http://localhost/oauth/callback",
            verify_user=False,
            trust_publishable_sessions=False,
            held_until=until,
            hold_kind=HoldKind.OUTAGE if until else HoldKind.NONE,
            created_at=now,
            updated_at=now,
        )
        async with db.transaction() as tx:
            tx.add(config)

    return make


async def found(fetch: Any) -> list[str]:
    return [life.id for life in (await fetch()).rows]


async def test_living_rows_come_in_the_order_in_which_they_are_due(db: Database, row: Any, now: Any) -> None:
    never = await row("never", status=Status.NEEDS_REAUTH)
    late = await row("late", next_due_at=now + 2 * MINUTE)
    soon = await row("soon", next_due_at=now + MINUTE)
    assert await found(partial(reconciling.living, db)) == [soon, late, never]
    assert await reconciling.count_living(db) == 3


async def test_a_revoked_life_lives_no_more_and_one_under_deletion_does(db: Database, row: Any, now: Any) -> None:
    await row("gone", status=Status.REVOKED, deleted_at=now)
    ending = await row("ending", deleted_at=now)
    unborn = await row("unborn", status=Status.PENDING, deleted_at=now)
    assert set(await found(partial(reconciling.living, db))) == {ending, unborn}


async def test_a_life_that_never_began_lives_while_a_session_of_it_is_open(
    db: Database, new_life: Any, new_session: Any
) -> None:
    await new_life(user_id="nobody")
    awaited, failed = await new_life(user_id="awaited"), await new_life(user_id="failed")
    await new_session(awaited)
    await new_session(failed, state=AttemptState.FAILED)
    assert await found(partial(reconciling.living, db)) == [awaited.id]


async def test_pages_follow_each_other_without_a_gap_or_a_repetition(db: Database, row: Any, now: Any) -> None:
    """Some are due at the same moment, some never."""
    ids = {await row(f"user-{n}", next_due_at=now + (n // 3) * MINUTE if n < 7 else None) for n in range(11)}
    seen = [[life.id for life in rows] async for rows in pages(partial(reconciling.living, db, size=2))]
    assert [len(page) for page in seen] == [2, 2, 2, 2, 2, 1]
    assert {life_id for page in seen for life_id in page} == ids


async def test_a_row_is_overdue_after_five_minutes(db: Database, row: Any, now: Any) -> None:
    late = await row("late", next_due_at=now - 6 * MINUTE)
    later = await row("later", next_due_at=now - 7 * MINUTE)
    await row("in-time", next_due_at=now - 4 * MINUTE)
    await row("dead", next_due_at=now - 7 * MINUTE, status=Status.NEEDS_REAUTH)
    await row("deleted", next_due_at=now - 7 * MINUTE, deleted_at=now)
    assert await found(partial(reconciling.overdue, db, now)) == [later, late]


async def test_a_row_whose_credential_has_ended_is_overdue_after_a_minute(db: Database, row: Any, now: Any) -> None:
    ended, lives = now, now + timedelta(seconds=1)
    late = now - timedelta(minutes=1, seconds=1)
    without = await row("without", next_due_at=late, expires_at=ended)
    await row("has-one", next_due_at=late, expires_at=lives)
    await row("just-due", next_due_at=now - MINUTE, expires_at=ended)
    assert await found(partial(reconciling.overdue, db, now)) == [without]


async def test_a_held_row_and_the_rows_of_a_held_config_are_not_overdue(
    db: Database, row: Any, hold: Any, now: Any
) -> None:
    """Not even while the config's next try is due: its breaker sends one of them."""
    await hold("cfg_held", now - MINUTE)
    await hold("cfg_free", None)
    due = {"next_due_at": now - 7 * MINUTE}
    await row("waits", provider_config_id="cfg_held", **due)
    await row("held", provider_config_id="cfg_free", held_until=now + MINUTE, **due)
    free = await row("free", provider_config_id="cfg_free", held_until=now - MINUTE, **due)
    assert await found(partial(reconciling.overdue, db, now)) == [free]


async def test_a_probe_is_due_ten_seconds_after_it_was_asked_for(db: Database, row: Any, now: Any) -> None:
    asked = await row("asked", probe_at=now - timedelta(seconds=11))
    await row("just-asked", probe_at=now - timedelta(seconds=9))
    await row("dead", probe_at=now - MINUTE, status=Status.NEEDS_REAUTH)
    await row("never-asked")
    assert await found(partial(reconciling.to_probe, db, now)) == [asked]


async def test_connections_of_a_deleted_installation_are_cut_off(db: Database, row: Any, now: Any) -> None:
    deleted = await row("", Kind.INSTALLATION, deleted_at=now)
    living = await row("", Kind.INSTALLATION)
    mine = await row("ann", installation_id=deleted)
    await row("bob", installation_id=deleted, deleted_at=now)
    await row("cleo", installation_id=living)
    await row("dora", installation_id="inst_of_no_row")
    assert await found(partial(reconciling.cut_off, db)) == [mine]


async def test_a_row_is_at_odds_with_a_credential_of_another_generation(
    db: Database, new_life: Any, new_current: Any, row: Any, now: Any
) -> None:
    async def generation(user: str, of_row: int, **columns: Any) -> str:
        life = await new_life(user_id=user)
        await new_current(life, session_id=f"sess_{user}", generation=2)
        return str(await row(user, generation=of_row, **columns))

    behind, ahead = await generation("behind", 1), await generation("ahead", 3, status=Status.NEEDS_REAUTH)
    await generation("agreed", 2)
    await generation("deleted", 1, deleted_at=now)
    without = await row("without", generation=1)
    await row("never-had-one", status=Status.NEEDS_REAUTH)
    assert set(await found(partial(reconciling.at_odds, db))) == {behind, ahead, without}


async def test_statuses_are_told_of_rows_that_exist(db: Database, row: Any) -> None:
    here, ended = await row("here"), await row("ended", status=Status.REVOKED)
    told = await reconciling.statuses(db, [here, ended, "conn_of_no_row"])
    assert told == {here: Status.ACTIVE, ended: Status.REVOKED}
    assert {life.id for life in await reconciling.rows_of(db, [here, "conn_of_no_row"])} == {here}


async def test_serving_rows_without_a_planned_check_up_get_one_spread_over_the_interval(
    db: Database, row: Any, now: Any
) -> None:
    """Rows of an earlier version: a check-up each, and not all of them at once."""
    ids = [await row(f"user-{n}") for n in range(12)]
    planned = await row("planned", probe_at=now + MINUTE)
    await row("dead", status=Status.NEEDS_REAUTH)
    await row("deleted", deleted_at=now)
    async with db.transaction() as tx:
        assert await reconciling.schedule_checkups(tx, now, 60 * MINUTE, 10) == 10
        assert await reconciling.schedule_checkups(tx, now, 60 * MINUTE, 10) == 2
        assert await reconciling.schedule_checkups(tx, now, 60 * MINUTE, 10) == 0
    async with db.reading() as tx:
        lives = {life.id: life for life in (await tx.exec(select(Life))).all()}
    times = [lives[life_id].probe_at for life_id in ids]
    assert all(now <= at < now + 60 * MINUTE for at in times)
    assert max(times) - min(times) > 20 * MINUTE
    assert lives[planned].probe_at == now + MINUTE
    assert {life.probe_at for life in lives.values() if life.user_id in ("dead", "deleted")} == {None}
