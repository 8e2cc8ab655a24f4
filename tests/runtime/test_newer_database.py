"""A database that a newer version migrated: taken if its migrations say so, else refused in one line (ADR 0016)."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing

import pytest
from typer.testing import CliRunner

from runtime import dev
from runtime.cli import app
from runtime.compose import open_activity_deps, open_api_deps
from runtime.errors import StartError
from runtime.settings import Settings
from runtime.vault_setup import check_vault, migrate_vault, migrated
from vault.revisions import head

LATER = "9999_later"


@pytest.fixture
async def settings(settings_with: Callable[..., Settings]) -> Settings:
    """Settings over a database whose revision this version does not know, and which says nothing of older ones."""
    settings = settings_with(env="development")
    await check_vault(settings)
    _execute(settings, f"UPDATE alembic_version SET version_num = '{LATER}'")
    return settings


def _execute(settings: Settings, statement: str) -> None:
    with closing(sqlite3.connect(settings.data_dir / "authpipe.db")) as database, database:
        database.execute(statement)


def _says(settings: Settings, serves_from: str) -> None:
    _execute(settings, f"INSERT INTO schema_mark VALUES ('{LATER}', '{serves_from}')")


def _is_plain(said: str) -> None:
    assert "\n" not in said
    assert "9999_later" in said
    assert head() in said
    assert "newer version" in said
    assert "authpipe migrate" not in said


Opening = Callable[[Settings], AbstractAsyncContextManager[object]]
either_process = pytest.mark.parametrize("opening", [open_api_deps, open_activity_deps])


@either_process
@pytest.mark.parametrize("serves_from", ["9998_later", None], ids=["that_shuts_it_out", "that_says_nothing"])
async def test_api_and_worker_do_not_start_on_a_newer_database(
    settings: Settings, opening: Opening, serves_from: str | None
) -> None:
    if serves_from:
        _says(settings, serves_from)
    with pytest.raises(StartError) as caught:
        await opening(settings).__aenter__()
    _is_plain(str(caught.value))


@either_process
async def test_api_and_worker_start_on_a_newer_database_that_names_a_revision_they_know(
    settings: Settings, opening: Opening
) -> None:
    _says(settings, head())
    async with opening(settings):
        pass


async def test_it_does_not_count_what_was_said_of_another_revision(settings: Settings) -> None:
    _execute(settings, f"INSERT INTO schema_mark VALUES ('9997_later', '{head()}')")
    with pytest.raises(StartError):
        await open_api_deps(settings).__aenter__()


async def _migrated(settings: Settings) -> str:
    """What it says; the revision must stay what it was."""
    try:
        return migrated(await asyncio.to_thread(migrate_vault, settings))
    finally:
        with closing(sqlite3.connect(settings.data_dir / "authpipe.db")) as database:
            assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (LATER,)


async def test_migrating_refuses_a_newer_database_that_shuts_it_out(settings: Settings) -> None:
    with pytest.raises(StartError) as caught:
        await _migrated(settings)
    _is_plain(str(caught.value))


async def test_migrating_leaves_a_newer_database_alone_and_ends_well_where_this_version_may_serve(
    settings: Settings,
) -> None:
    _says(settings, head())
    said = await _migrated(settings)
    assert LATER in said
    assert "nothing was changed" in said


EVERY = (
    "migrate",
    "api",
    "worker",
    "dev",
    "reconcile",
    "keys rewrap",
    "api-keys add x",
    "api-keys list",
    "api-keys revoke x",
    "connections list",
    "installations show x",
    "providers list",
    "configs list",
    "events list",
)


@pytest.fixture
def told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same settings, in the environment of commands."""
    monkeypatch.setenv("AUTHPIPE_ENV", "development")
    monkeypatch.setenv("AUTHPIPE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setattr(dev, "require_free_ports", lambda _ports: None)
    return settings


@pytest.mark.parametrize("command", EVERY)
def test_every_command_that_opens_it_refuses_in_one_line(told: Settings, quiet_logs: None, command: str) -> None:
    ended = CliRunner().invoke(app, command.split())
    assert (ended.exit_code, ended.stdout) == (2, "")
    _is_plain(ended.stderr.rstrip("\n"))


def test_the_doctor_finds_it(told: Settings) -> None:
    ended = CliRunner().invoke(app, ["doctor", "--json"])
    found = {f["code"]: f["what"] for check in json.loads(ended.stdout)["checks"] for f in check["findings"]}
    assert (ended.exit_code, "9999_later" in found["database_newer"]) == (1, True)
