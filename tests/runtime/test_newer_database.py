"""A database that a newer version has migrated is refused in one line, and nobody is told to migrate it."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing

import pytest

from runtime.compose import open_activity_deps, open_api_deps
from runtime.errors import StartError
from runtime.settings import Settings
from runtime.vault_setup import check_vault, migrate_vault
from vault.database import head


@pytest.fixture
async def settings(settings_with: Callable[..., Settings]) -> Settings:
    """Settings over a database whose revision this version does not know."""
    settings = settings_with(env="development")
    await check_vault(settings)
    with closing(sqlite3.connect(settings.data_dir / "authpipe.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999_later'")
    return settings


def _is_plain(said: str) -> None:
    assert "\n" not in said
    assert "9999_later" in said
    assert head() in said
    assert "newer version" in said
    assert "authpipe migrate" not in said


@pytest.mark.parametrize("opening", [open_api_deps, open_activity_deps])
async def test_api_and_worker_do_not_start_on_a_newer_database(
    settings: Settings, opening: Callable[[Settings], AbstractAsyncContextManager[object]]
) -> None:
    with pytest.raises(StartError) as caught:
        await opening(settings).__aenter__()
    _is_plain(str(caught.value))


async def test_migrating_leaves_a_newer_database_alone(settings: Settings) -> None:
    with pytest.raises(StartError) as caught:
        await asyncio.to_thread(migrate_vault, settings)
    _is_plain(str(caught.value))
    with closing(sqlite3.connect(settings.data_dir / "authpipe.db")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999_later",)
