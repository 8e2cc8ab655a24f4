"""What a sweep does on its own, whatever the engine; what it does with one is in `reconciling`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select
from structlog.testing import capture_logs

from activities.messages import ConfigIds
from domain.errors import Problem
from domain.life import Kind, Status
from runtime import sweeper
from runtime.pace import Pace
from runtime.sweeper import Sweeper
from vault import configs, endpoints, holds, inbound
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import ClientSecret, Event, InboundMessage, Life, Outbox


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


class Woken:
    """Stands in for the engine: whom it was told to wake, and whom it refuses."""

    def __init__(self, refused: str = "", *, away: bool = False) -> None:
        self.ids: list[str] = []
        self._refused = refused
        self._away = away

    async def wake(self, life: Life) -> None:
        if life.id == self._refused:
            raise Problem("temporal_unavailable")
        self.ids.append(life.id)

    returned = delete = wake

    async def unless_failing(self, _life: Life, tell: Any) -> bool:
        await tell()
        return True

    async def ping(self) -> bool:
        return not self._away


def sweeping(db: Database, engine: Any, clock: Any) -> Sweeper:
    return Sweeper(db, engine, clock, Pace(10_000))


async def overdue(db: Database, clock: Any, count: int) -> list[str]:
    """Lives that are overdue and stay so, the longest overdue first."""
    now = clock()
    rows = [
        Life(
            id=f"conn_{n}",
            workspace_id="default",
            kind=Kind.CONNECTION,
            provider_id="sample",
            provider_config_id="cfg_1",
            tenant_id="acme",
            user_id=f"user-{n}",
            attachment="user",
            status=Status.ACTIVE,
            created_at=now,
            updated_at=now,
            next_due_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n),
        )
        for n in range(count)
    ]
    async with db.transaction() as tx:
        tx.add_all(rows)
    return [life.id for life in rows]


async def test_client_secrets_are_destroyed_once_their_grace_is_over(db: Database, sealer: Sealer, clock: Any) -> None:
    new = NewConfig("jira", "client", "first", "https://app.example.com/oauth/callback", "user")
    config = await configs.create(db, sealer, "default", new, clock())
    await configs.change(db, sealer, "default", config.id, clock(), client_secret="second")
    sweep = sweeping(db, Woken(), clock).sweep  # nothing went unheard
    assert await sweep() == 0
    assert await kept(db) == [True, True]
    clock.advance(seconds=configs.SECRET_GRACE.total_seconds())
    assert await sweep() == 0
    assert await kept(db) == [False, True]


async def kept(db: Database) -> list[bool]:
    async with db.reading() as tx:
        return [row.sealed_secret is not None for row in await tx.exec(select(ClientSecret).order_by("version"))]


async def test_what_is_remembered_of_old_webhooks_is_destroyed(db: Database, clock: Any) -> None:
    async with db.transaction() as tx:
        tx.add(InboundMessage(provider_config_id="cfg_1", message_id="m", received_at=clock()))
    clock.advance(seconds=inbound.REMEMBERED.total_seconds() + 1)
    await sweeping(db, Woken(), clock).sweep()
    async with db.reading() as tx:
        assert (await tx.exec(select(InboundMessage))).all() == []


async def test_rows_that_stay_overdue_hide_none_behind_them(
    db: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "WAKES_AT_ONCE", 2)
    ids, engine = await overdue(db, clock, 5), Woken()
    sweep = sweeping(db, engine, clock).sweep
    assert [await sweep() for _ in range(4)] == [2, 2, 1, 2]
    assert engine.ids == [*ids, *ids[:2]]


async def test_one_life_that_the_engine_refuses_keeps_no_other_from_being_woken(db: Database, clock: Any) -> None:
    ids = await overdue(db, clock, 3)
    engine = Woken(refused=ids[0])
    assert await sweeping(db, engine, clock).sweep() == 2
    assert engine.ids == ids[1:]


async def test_with_the_engine_away_the_sweep_ends_and_begins_there_again(db: Database, clock: Any) -> None:
    ids = await overdue(db, clock, 3)
    engine = Woken(refused=ids[0], away=True)
    sweep = sweeping(db, engine, clock).sweep
    for _ in range(2):
        with pytest.raises(Problem, match="temporal_unavailable"):
            await sweep()
    assert engine.ids == []


async def fails(*_: Any, **__: Any) -> None:
    raise RuntimeError("canary")


PARTS = {
    "upkeep": "runtime.sweeper.destroy_retired",
    "secrets": "runtime.sweeper.notice_secrets",
    "breakers": "vault.holds.held",
    "callbacks": "vault.unheard.unacknowledged",
    "overdue": "vault.reconciling.overdue",
    "deliveries": "vault.outbox.overdue_workspaces",
}


@pytest.mark.parametrize("broken", PARTS)
async def test_a_part_that_fails_keeps_no_other_from_its_turn_and_is_told_of(
    db: Database, sealer: Sealer, clock: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    (life_id,), engine, heard = await overdue(db, clock, 1), Woken(), []  # type: ignore[var-annotated]
    await one_waits(db, sealer, clock)
    db.on_events = heard.append
    async with db.transaction() as tx:
        tx.add(InboundMessage(provider_config_id="cfg_1", message_id="m", received_at=clock()))
    clock.advance(seconds=inbound.REMEMBERED.total_seconds() + 1)
    monkeypatch.setattr(PARTS[broken], fails)
    with capture_logs() as logs:
        assert await sweeping(db, engine, clock).sweep() == (broken != "overdue")
    assert engine.ids == ([] if broken == "overdue" else [life_id])
    assert heard == ([] if broken == "deliveries" else ["default"])
    async with db.reading() as tx:
        assert len((await tx.exec(select(InboundMessage))).all()) == (broken == "upkeep")
    (told,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (told["part"], told["error"]) == (broken, "RuntimeError")
    assert "canary" not in str(logs)


async def test_with_the_engine_away_deliveries_are_hinted_at_all_the_same(
    db: Database, sealer: Sealer, clock: Any
) -> None:
    ids, heard = await overdue(db, clock, 1), []  # type: ignore[var-annotated]
    await one_waits(db, sealer, clock)
    db.on_events = heard.append
    clock.advance(minutes=1)
    with pytest.raises(Problem, match="temporal_unavailable"):
        await sweeping(db, Woken(refused=ids[0], away=True), clock).sweep()
    assert heard == ["default"]


async def test_configs_are_locked_in_a_transaction_that_touches_no_life(
    db: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others lock a life and then its config: both in one transaction, the other way round, would be a deadlock."""
    seen: dict[str, Any] = {}

    def noting(name: str) -> Any:
        async def note(tx: Any, *_: Any) -> None:
            seen[name] = tx

        return note

    monkeypatch.setattr(sweeper, "notice_secrets", noting("configs"))
    monkeypatch.setattr("vault.reconciling.schedule_checkups", noting("lives"))
    await sweeping(db, Woken(), clock).sweep()
    assert seen["configs"] is not seen["lives"]


async def one_waits(db: Database, sealer: Sealer, clock: Any) -> None:
    """An event that is to be delivered."""
    await endpoints.set_url(db, sealer, "default", "https://builder.example.com/", clock())
    async with db.transaction() as tx:
        tx.add(Event(id="evt_1", workspace_id="default", life_id="conn_1", type="connection.x", created_at=clock()))
        tx.add(Outbox(event_id="evt_1", workspace_id="default", life_id="conn_1", created_at=clock()))


async def test_every_held_config_gets_its_breaker_before_anything_else(
    db: Database, sealer: Sealer, clock: Any
) -> None:
    """Even with the engine refusing lives: it is started by the next sweep too, where it runs nothing happens."""
    new = NewConfig("jira", "client", "first", "https://app.example.com/oauth/callback", "user")
    held, _free = [await configs.create(db, sealer, "default", new, clock()) for _ in range(2)]
    async with db.transaction() as tx:
        await holds.misconfigured(tx, held, clock(), "client_refused")
    started: list[str] = []

    async def start(config: ConfigIds) -> None:
        started.append(config.config_id)

    ids = await overdue(db, clock, 1)
    sweeper = Sweeper(db, Woken(refused=ids[0], away=True), clock, Pace(10_000), start)  # type: ignore[arg-type]
    clock.advance(hours=1)
    for _ in range(2):
        with pytest.raises(Problem):
            await sweeper.sweep()
    assert started == [held.id, held.id]
