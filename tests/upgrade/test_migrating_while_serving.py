"""`authpipe migrate` of a newer version runs under load; the processes of this one serve on, and say so (ADR 0016)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from runtime.errors import StartError
from tests.upgrade.fleet import TOKEN_SECONDS, Fleet
from tests.upgrade.stand import UpgradeStand, upgrade_stand
from tests.upgrade.trees import run, with_migrations
from vault.revisions import head

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COLUMN, INDEX = "9001", "9002"
REVISION = """
import sqlalchemy as sa
from alembic import op
from vault.migrations import online

revision, down_revision, branch_labels, depends_on = {revision!r}, {after!r}, None, None
serves_from = {serves_from!r}


def upgrade() -> None:
    {does}
"""
ADD = "op.add_column('life', sa.Column('favourite', sa.String(), nullable=True))"
BUILD = "online.create_index('ix_life_favourite', 'life', ['favourite'])"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a version with two migrations more, which say from which revision on one may serve."""

    def build(serves_from: str) -> Path:
        told = {"serves_from": serves_from}
        migrations = {
            "9001_a_column.py": REVISION.format(revision=COLUMN, after=head(), does=ADD, **told),
            "9002_an_index.py": REVISION.format(revision=INDEX, after=COLUMN, does=BUILD, **told),
        }
        return with_migrations(tmp_path_factory.mktemp("newer"), migrations)

    return build


@pytest.fixture(params=["sqlite", "postgresql"])
async def stand(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UpgradeStand]:
    url = request.getfixturevalue("new_postgres_url") if request.param == "postgresql" else None
    async with upgrade_stand(tmp_path, url) as stand:
        yield stand


@pytest.fixture
async def fleet(stand: UpgradeStand) -> Fleet:
    return Fleet(stand, await stand.app("jira", token_lifetime=TOKEN_SECONDS))


async def migrated(stand: UpgradeStand, tree: Path) -> str:
    """What `authpipe migrate` of that build says."""
    done = await asyncio.to_thread(run, tree, "migrate", env=stand.environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


async def readiness(stand: UpgradeStand) -> tuple[int, str]:
    answer = await stand.api.get("/health/ready")
    return answer.status_code, answer.json()["parts"]["migrations"]


async def test_processes_of_the_version_before_serve_on_and_stay_ready(
    stand: UpgradeStand, fleet: Fleet, newer: Callable[[str], Path]
) -> None:
    tree = newer(head())
    worker = await stand.worker()
    await fleet.connect()
    async with fleet.read_all_the_while():
        await fleet.refreshed_since(await fleet.generations())
        await migrated(stand, tree)
        assert await readiness(stand) == (200, "ok")
        await fleet.refreshed_since(await fleet.generations(), times=2)
        # One that is started again takes part, and so does one of the newer version.
        await worker.end(signal.SIGKILL)
        await stand.worker()
        await fleet.refreshed_since(await fleet.generations())
        await stand.worker(tree)
        await fleet.refreshed_since(await fleet.generations())
        # The way back: what the older version's deployment does first.
        assert "nothing was changed" in await migrated(stand, Path.cwd())
    await fleet.is_well()


async def test_a_migration_that_shuts_the_version_before_out_takes_it_from_the_balancer(
    stand: UpgradeStand, newer: Callable[[str], Path]
) -> None:
    await migrated(stand, newer(COLUMN))
    assert await readiness(stand) == (503, "of a newer version: run that version")
    with pytest.raises(AssertionError, match="a newer version made it"):
        await stand.worker()
    assert stand.workers[-1].child.returncode == StartError.exit_code


@asynccontextmanager
async def a_backup_reads(stand: UpgradeStand, table: str) -> AsyncIterator[None]:
    """A long transaction with a snapshot and a share in the table, as `pg_dump` has."""
    engine = stand.vault._engine.execution_options(isolation_level="REPEATABLE READ")
    async with engine.connect() as connection:
        await connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        await connection.execute(text(f"SELECT count(*) FROM {table}"))
        yield
        await connection.rollback()


async def asked(stand: UpgradeStand, query: str) -> object:
    async with stand.vault._bare.connect() as connection:
        return (await connection.execute(text(query))).scalar()


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{}%favourite%'"


@pytest.mark.parametrize("stand", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("table", "statement"), [("life", "ADD COLUMN"), ("workspace", "INDEX CONCURRENTLY")], ids=["a_column", "an_index"]
)
async def test_a_backup_under_way_delays_the_migration_and_nobody_else(
    stand: UpgradeStand, fleet: Fleet, newer: Callable[[str], Path], table: str, statement: str
) -> None:
    tree = newer(head())
    await stand.worker()
    await fleet.connect()
    async with fleet.read_all_the_while():
        async with a_backup_reads(stand, table):
            migrating = [asyncio.create_task(migrated(stand, tree)) for _ in range(2)]
            await stand.until(lambda: asked(stand, WAITS.format(statement)))
            await fleet.refreshed_since(await fleet.generations(), times=2)
            assert not any(task.done() for task in migrating)
        assert await asyncio.gather(*migrating) == ["The database is up to date.\n"] * 2
    assert await asked(stand, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert await readiness(stand) == (200, "ok")
    await fleet.is_well()
