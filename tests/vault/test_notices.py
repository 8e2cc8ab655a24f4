"""A client secret that ends by itself is told of 14, 3 and 1 days ahead, once each. On both databases."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from vault import configs
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.notices import notice_secrets
from vault.tables import Event, ProviderConfig

DAY = timedelta(days=1)
SIGNED = NewConfig("jira", "client", "secret", "https://app.example.com/oauth/callback", "user")


@pytest.fixture
async def config(db: Database, sealer: Sealer, now: datetime) -> ProviderConfig:
    return await configs.create(db, sealer, "default", SIGNED, now)


@pytest.fixture
def change(db: Database, sealer: Sealer, config: ProviderConfig, clock: Any) -> Any:
    async def write(**fields: Any) -> None:
        await configs.change(db, sealer, "default", config.id, clock(), **fields)

    return write


@pytest.fixture
def told_by(db: Database, clock: Any, now: datetime) -> Any:
    """`await told_by(days)`: the days of every notice, once the upkeep has run on that day."""

    async def days(later: float) -> list[int]:
        clock.now = now + later * DAY
        async with db.transaction() as tx:
            await notice_secrets(tx, clock())
        async with db.reading() as tx:
            found = (await tx.exec(select(Event).order_by(Event.sequence))).all()  # type: ignore[arg-type]
        assert {event.type for event in found} <= {"provider_config.secret_due"}
        return [event.data["days"] for event in found if event.data]

    return days


async def test_each_notice_is_given_once(change: Any, told_by: Any, now: datetime) -> None:
    await change(client_secret_expires_at=now + 100 * DAY)
    assert await told_by(85.9) == []
    assert await told_by(86.1) == [14]
    assert await told_by(90) == [14]
    assert await told_by(97.1) == [14, 3]
    assert await told_by(99.1) == [14, 3, 1]
    assert await told_by(99.9) == [14, 3, 1]
    assert await told_by(101) == [14, 3, 1]


async def test_a_notice_says_why_and_when(change: Any, told_by: Any, db: Database, now: datetime) -> None:
    await change(client_secret_expires_at=now + 20 * DAY)
    await told_by(6.5)
    async with db.reading() as tx:
        (event,) = (await tx.exec(select(Event))).all()
    due = {"reason": "client_secret", "days": 14, "due_at": (now + 20 * DAY).isoformat()}
    assert due.items() <= (event.data or {}).items()


async def test_a_secret_without_an_end_is_not_told_of(config: ProviderConfig, told_by: Any) -> None:
    assert await told_by(3650) == []


@pytest.mark.parametrize("after", [None, 50])
async def test_a_new_secret_silences_the_notices_of_the_one_before(
    change: Any, told_by: Any, clock: Any, now: datetime, after: int | None
) -> None:
    await change(client_secret_expires_at=now + 20 * DAY)
    assert await told_by(7) == [14]
    await change(client_secret="another", client_secret_expires_at=after and now + after * DAY)
    assert await told_by(19.5) == [14]
    assert await told_by(36.5) == ([14, 14] if after else [14])


async def test_a_later_end_of_the_same_secret_is_told_of_anew(change: Any, told_by: Any, now: datetime) -> None:
    await change(client_secret_expires_at=now + 20 * DAY)
    assert await told_by(7) == [14]
    await change(client_secret_expires_at=now + 60 * DAY)
    assert await told_by(30) == [14]
    assert await told_by(47) == [14, 14]


async def test_nobody_is_told_of_a_deleted_config(
    db: Database, change: Any, config: ProviderConfig, told_by: Any, clock: Any, now: datetime
) -> None:
    await change(client_secret_expires_at=now + 20 * DAY)
    assert await configs.delete(db, "default", config.id, clock())
    assert await told_by(7) == []
