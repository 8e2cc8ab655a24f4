"""No room on the vault's disk, on a real one that is full: no token is asked for in vain, and none is lost."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from activities.messages import Ending
from domain.points import Point
from tests.small_disk import SmallDisk, small_disk
from vault.database import Database, is_full
from vault.direct import DirectTransaction


@pytest.fixture
def disk(sqlite_template: Path, tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", sqlite_template) as disk:
        yield disk


@pytest.fixture
def database_url(disk: SmallDisk) -> str:
    return disk.url


@dataclass
class MakingRoom:
    """A database on whose first failure somebody makes room."""

    inner: Database
    disk: SmallDisk
    full: list[bool] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @asynccontextmanager
    async def directly(self) -> AsyncIterator[DirectTransaction]:
        try:
            async with self.inner.directly() as tx:
                yield tx
        except OperationalError as error:
            self.full.append(is_full(error))
            self.disk.free()
            raise


async def test_nothing_is_sent_while_its_intent_cannot_be_written(stage: Any, disk: SmallDisk) -> None:
    life = await stage.connected()
    before, asked = await stage.secrets(life), await stage.asked()
    disk.fill()
    with pytest.raises(OperationalError) as caught:
        await stage.refresh(life)
    assert is_full(caught.value)
    assert (await stage.asked(), await stage.secrets(life)) == (asked, before)
    disk.free()
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert await stage.asked() == asked + 1


async def test_an_answer_is_kept_until_there_is_room(stage: Any, disk: SmallDisk) -> None:
    """The disk fills between the answer and its commit, and somebody makes room within the lease."""
    life = await stage.connected()
    old, asked = await stage.secrets(life), await stage.asked()
    db = MakingRoom(stage.deps.db, disk)

    async def fill(point: Point, _life_id: str) -> None:
        if point is Point.REFRESH_BEFORE_COMMIT:
            disk.fill()

    result = await stage.refresh(life, replace(stage.deps, db=db, reached=fill))
    assert (result.ending, db.full) == (Ending.CREDENTIALED, [True])
    new = await stage.secrets(life)
    assert await stage.asked() == asked + 1
    assert (new.refresh != old.refresh, await stage.valid("access", new.access)) == (True, True)


async def test_an_answer_that_found_no_room_within_the_lease_is_asked_for_once_more(
    stage: Any, disk: SmallDisk
) -> None:
    life = await stage.connected()
    old = await stage.secrets(life)

    async def fill(point: Point, _life_id: str) -> None:
        if point is Point.REFRESH_BEFORE_COMMIT:
            disk.fill()
            stage.clock.advance(seconds=29.95)

    with pytest.raises(OperationalError):
        await stage.refresh(life, replace(stage.deps, reached=fill))
    assert await stage.secrets(life) == old
    disk.free()
    stage.clock.advance(minutes=1)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1, "replayed": 1}
    assert await stage.valid("access", (await stage.secrets(life)).access)
