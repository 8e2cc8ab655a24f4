"""An older backup of the vault is restored, with an empty engine: what docs/operations.md says becomes of each life.

The provider has no replay window, and a refresh token that comes twice kills its grant: nothing is kinder than it.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.lives import Lives
from domain.life import Status
from runtime.pace import STARTS_PER_SECOND, Pace
from runtime.reconcile import reconcile
from runtime.reconcile_report import Case
from tests.conftest import Postgres
from tests.deploy.reading import PROGRAMS
from tests.end_to_end.in_process.conftest import EngineClock, World, open_world
from tests.end_to_end.in_process.test_store_lost import connect, engine_on
from vault.crypto import Sealer
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.tables import Life, Tombstone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LONG, SHORT = 150, 40


@dataclass
class Sqlite:
    """The file's way: `VACUUM INTO` while it is in use."""

    url: str
    folder: Path

    def back_up(self) -> None:
        with closing(sqlite3.connect(self.folder / "vault.db")) as db:
            db.execute("VACUUM INTO ?", (str(self.folder / "backup.db"),))

    def restore(self) -> str:
        for left in self.folder.glob("vault.db*"):
            left.unlink()
        shutil.copy(self.folder / "backup.db", self.folder / "vault.db")
        return self.url


@dataclass
class Postgresql:
    """`pg_dump` while it is in use, `pg_restore` into a new database."""

    postgres: Postgres
    database: str
    folder: Path

    @property
    def url(self) -> str:
        return self.postgres.url(self.database)

    def back_up(self) -> None:
        self._run("pg_dump", "--format=custom", f"--file={self.folder / 'backup.dump'}", self.database)

    def restore(self) -> str:
        name = f"restored_{uuid4().hex}"
        self.postgres.sql(f"CREATE DATABASE {name}")
        self._run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={name}", str(self.folder / "backup.dump"))
        return self.postgres.url(name)

    def _run(self, program: str, *words: str) -> None:
        env = {**os.environ, "PGHOST": str(self.postgres.server.get_postmaster_info().socket_dir), "PGUSER": "postgres"}
        subprocess.run([PROGRAMS / program, *words], env=env, check=True, capture_output=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Sqlite | Postgresql:
    if request.param == "sqlite":
        return Sqlite(request.getfixturevalue("sqlite_url"), tmp_path)
    request.getfixturevalue("postgres_url")  # empties it
    return Postgresql(request.getfixturevalue("postgres"), request.getfixturevalue("postgres_vault"), tmp_path)


@dataclass
class Lived:
    """A connection and the token it served when the backup was made."""

    id: str
    whom: dict[str, str]
    token: str = ""


async def served(world: World, lived: Lived) -> Any:
    return await world.api.post("/api/credentials", json={"provider": "plain", **lived.whom})


async def lives(world: World) -> tuple[Lived, Lived, Lived]:
    """Three connections under their workflows; those of the short tokens may be refreshed after seconds."""
    config_id = await world.configure("plain", "user")
    sealer = Sealer(Keys(SqlKeyStore(world.db), KeyRing({"test": bytes(range(32))}, active="test"), world.clock))
    rows = [await connect(world, sealer, config_id, n, seconds) for n, seconds in enumerate((LONG, SHORT, SHORT))]
    await _reconciled(world)
    found = [Lived(row.id, {"tenant_id": row.tenant_id, "user_id": row.user_id}) for row in rows]
    for lived in found:
        lived.token = (await served(world, lived)).json()["credential"]
    return found[0], found[1], found[2]


async def _reconciled(world: World) -> Any:
    return await reconcile(world.db, Lives(world.client), world.client, world.clock, Pace(STARTS_PER_SECOND))


async def until_life(world: World, lived: Lived, fact: Callable[[Life], bool]) -> Life:
    """Ask for a refresh now and again, as a person would, until the fact is there."""

    async def ask() -> Life:
        await world.api.post(f"/api/connections/{lived.id}")
        return await world.life(lived.id)

    found: Life = await world.until(ask, fact)
    return found


async def upstream(world: World, lived: Lived) -> str:
    """How telling the provider of a deletion went."""
    async with world.db.reading() as tx:
        tombstone = await tx.get(Tombstone, lived.id)
    return tombstone.upstream if tombstone else ""


async def test_after_an_older_backup_each_life_goes_on_or_asks_for_a_new_consent(
    store: Sqlite | Postgresql, tmp_path: Path
) -> None:
    clock, provider = EngineClock(datetime.now(UTC), real=True), []

    def same(app: Any) -> Any:
        """The provider lives on, and remembers what it issued."""
        provider.append(app)
        return provider[0]

    async with engine_on(tmp_path / "engine.db") as client, open_world(client, store.url, clock, same) as world:
        untouched, rotated, deleted = await lives(world)
        store.back_up()
        await until_life(world, rotated, lambda life: life.generation == 2)
        assert (await world.api.delete(f"/api/connections/{deleted.id}")).status_code == 204
        await world.until(lambda: upstream(world, deleted), lambda said: said == "confirmed")

    url = store.restore()
    async with engine_on(tmp_path / "new.db") as client, open_world(client, url, clock, same) as world:
        report = await _reconciled(world)
        assert report.findings[Case.NOT_RUNNING].mended == 3

        # What was not rotated since goes on as if nothing had been.
        assert (await served(world, untouched)).json()["credential"] == untouched.token
        await until_life(world, untouched, lambda life: life.generation == 2)
        assert (await served(world, untouched)).status_code == 200

        # What was rotated, or deleted, since is refused by the provider, and says so.
        for lived in (rotated, deleted):
            dead = await until_life(world, lived, lambda life: life.status == Status.NEEDS_REAUTH)
            assert dead.reason == "grant_revoked"
            answer = await served(world, lived)
            assert answer.status_code == 409 or answer.json()["needs_reauth"] is True
            assert answer.json().get("credential") in {None, lived.token}, "never anybody else's"
