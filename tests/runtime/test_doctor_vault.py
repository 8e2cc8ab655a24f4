"""The doctor on real vaults, each with the very thing that is wrong with it."""

import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.life import Kind, Status
from runtime.doctor.findings import Code
from runtime.settings import Settings
from runtime.vault_setup import open_vault
from tests.runtime.doctoring import KEY, OTHER_KEY, only, outcome, wall_clock
from vault.credentials import CURRENT, OAUTH_TOKEN, Secrets, seal
from vault.crypto import Sealer
from vault.revisions import head
from vault.tables import Credential, Life

ONE_MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(settings_with: Callable[..., Settings], database_url: str) -> Settings:
    """A vault in order, on each database."""
    return settings_with(database_url=database_url, key_encryption_key=KEY)


@pytest.fixture
def on_sqlite(settings_with: Callable[..., Settings], sqlite_url: str) -> Settings:
    return settings_with(database_url=sqlite_url, key_encryption_key=KEY)


def with_(settings: Settings, **other: Any) -> Settings:
    return settings.model_copy(update=other)


async def keep(settings: Settings, life_id: str, **columns: Any) -> None:
    """A life that is active and due in an hour, with a sealed credential."""
    now = wall_clock()
    values: dict[str, Any] = {
        "id": life_id,
        "workspace_id": "default",
        "kind": Kind.CONNECTION,
        "provider_id": "jira",
        "provider_config_id": "cfg_1",
        "tenant_id": "acme",
        "user_id": life_id,
        "attachment": "user",
        "status": Status.ACTIVE,
        "generation": 1,
        "created_at": now,
        "updated_at": now,
        "next_due_at": now + timedelta(hours=1),
    }
    life = Life(**(values | columns))
    async with open_vault(settings) as vault:
        sealed = await seal(Sealer(vault.keys), life, 1, Secrets("access", "refresh"))
        credential = Credential(
            id=f"cred_{life_id}",
            life_id=life_id,
            role=CURRENT,
            generation=1,
            credential_type=OAUTH_TOKEN,
            key_id=sealed.key_id,
            sealed_access=sealed.access,
            sealed_refresh=sealed.refresh,
            issued_at=now,
        )
        async with vault.db.transaction() as tx:
            tx.add_all([life, credential])


@pytest.mark.parametrize(
    "check", ["provider files", "keys", "migrations", "clock", "keys of the vault", "rows of the vault", "connections"]
)
async def test_a_vault_in_order_has_no_finding(settings: Settings, check: str) -> None:
    await keep(settings, "conn_1")
    found = await outcome(settings, check)
    assert (found.findings, found.why) == ([], "")


# --- the database ---------------------------------------------------------------------------------------------------


async def test_a_database_that_is_not_there_is_named_and_not_made(on_sqlite: Settings, tmp_path: Path) -> None:
    finding = await only(with_(on_sqlite, database_url=f"sqlite+aiosqlite:///{tmp_path}/none.db"), "migrations")
    assert (finding.code, f"{tmp_path}/none.db" in finding.what) == (Code.DATABASE_UNREACHABLE, True)
    assert "AUTHPIPE_DATABASE_URL" in finding.remedy
    assert not (tmp_path / "none.db").exists()


async def test_a_file_that_is_no_database_is_named(on_sqlite: Settings, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam, " * 100)
    finding = await only(with_(on_sqlite, database_url=f"sqlite+aiosqlite:///{tmp_path}/letter.txt"), "migrations")
    assert (finding.code, "not a database" in finding.what) == (Code.DATABASE_UNREACHABLE, True)


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A port where somebody listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
async def test_a_postgresql_that_does_not_answer_is_found_in_time(on_sqlite: Settings, answers: bool) -> None:
    async with silent_server() as port:
        target = port if answers else 1
        url = f"postgresql+asyncpg://authpipe:canary@127.0.0.1:{target}/authpipe"
        finding = await only(with_(on_sqlite, database_url=url), "migrations")
    assert finding.code == Code.DATABASE_UNREACHABLE
    assert "AUTHPIPE_DATABASE_URL" in finding.remedy
    assert "canary" not in finding.what


async def test_a_database_behind_is_told_from_a_newer_one(on_sqlite: Settings) -> None:
    file = on_sqlite.database_url.removeprefix("sqlite+aiosqlite:///")
    for revision, code, remedy in (
        ("0001", Code.MIGRATIONS_BEHIND, "authpipe migrate"),
        ("9999_later", Code.DATABASE_NEWER, "Run that version"),
    ):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        finding = await only(on_sqlite, "migrations")
        assert (finding.code, remedy in finding.remedy) == (code, True)
        assert (revision in finding.what, head() in finding.what) == (True, True)


async def test_a_database_without_any_table_is_behind(
    settings_with: Callable[..., Settings], new_postgres_url: str
) -> None:
    finding = await only(settings_with(database_url=new_postgres_url, key_encryption_key=KEY), "migrations")
    assert (finding.code, "revision none" in finding.what) == (Code.MIGRATIONS_BEHIND, True)


@pytest.mark.parametrize(("off", "said"), [(ONE_MINUTE, "ahead of"), (-ONE_MINUTE, "behind")])
async def test_a_clock_that_is_off_the_databases_is_found(
    settings_with: Callable[..., Settings], postgres_url: str, off: timedelta, said: str
) -> None:
    def wrong() -> datetime:
        return wall_clock() + off

    settings = settings_with(database_url=postgres_url, key_encryption_key=KEY)
    finding = await only(settings, "clock", wrong)
    assert finding.code == Code.CLOCK_SKEWED
    assert f"60 s {said} the database's" in finding.what or f"59 s {said} the database's" in finding.what
    assert "NTP" in finding.remedy


# --- files and keys -------------------------------------------------------------------------------------------------


async def test_each_faulty_provider_file_is_named_with_its_key(on_sqlite: Settings, tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('id = "one"\nname = "One"\nauthorisation_url = "https://one.example.com"\n')
    (tmp_path / "two.toml").write_text("id = ")
    findings = (await outcome(with_(on_sqlite, providers_dir=tmp_path), "provider files")).findings
    assert [finding.code for finding in findings] == [Code.PROVIDER_FILE_FAULTY] * 2
    assert "one.toml" in findings[0].what
    assert "two.toml" in findings[1].what
    assert "authpipe providers doctor" in findings[0].remedy


async def test_no_key_at_all_is_found_and_none_is_made(settings_with: Callable[..., Settings], sqlite_url: str) -> None:
    for env in ("production", "development"):
        settings = settings_with(env=env, database_url=sqlite_url)
        finding = await only(settings, "keys of the vault")
        assert (finding.code, "AUTHPIPE_KEY_ENCRYPTION_KEY" in finding.remedy) == (Code.KEY_MISSING, True)
        assert not settings.data_dir.exists()


async def test_a_key_file_that_cannot_be_used_is_found(on_sqlite: Settings, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("key1:Y2FuYXJ5\n")
    for file, said in (("none", "cannot be read"), ("short", "6 bytes")):
        settings = with_(on_sqlite, key_encryption_key=None, key_encryption_key_file=tmp_path / file)
        finding = await only(settings, "keys of the vault")
        assert (finding.code, said in finding.what) == (Code.KEY_UNUSABLE, True)
        assert "Y2FuYXJ5" not in finding.what


async def test_a_key_of_the_right_id_that_does_not_fit_the_rows_is_wrong(settings: Settings) -> None:
    await keep(settings, "conn_1")
    given = with_(settings, key_encryption_key=type(settings.key_encryption_key)(OTHER_KEY))
    finding = await only(given, "rows of the vault")
    assert (finding.code, "'key1'" in finding.what) == (Code.KEY_WRONG, True)
    assert "the key this vault was made with" in finding.remedy


async def test_a_key_that_the_vault_needs_and_was_not_given_is_missing(settings: Settings) -> None:
    await keep(settings, "conn_1")
    given = with_(settings, key_encryption_key=type(settings.key_encryption_key)(KEY.replace("key1", "key2")))
    finding = await only(given, "rows of the vault")
    assert (finding.code, "'key1'" in finding.what) == (Code.KEY_MISSING, True)


async def test_rows_that_came_from_another_backup_than_their_keys_do_not_open(settings: Settings) -> None:
    """The data keys of a tenant were made anew: what lay there before opens no more."""
    await keep(settings, "conn_before")
    async with open_vault(settings) as vault:
        await vault.keys.destroy("default", "acme")
    await keep(settings, "conn_after")
    finding = await only(settings, "rows of the vault")
    assert finding.code == Code.ROWS_DO_NOT_OPEN
    assert finding.what == "1 of the 2 newest credentials, such as conn_before"
    assert "backup" in finding.remedy


# --- connections ----------------------------------------------------------------------------------------------------


async def test_overdue_connections_are_counted_and_named(settings: Settings) -> None:
    now = wall_clock()
    for number in range(5):
        await keep(settings, f"conn_{number}", next_due_at=now - timedelta(minutes=6 + number))
    await keep(settings, "conn_held", next_due_at=now - timedelta(hours=1), held_until=now + timedelta(hours=1))
    finding = await only(settings, "connections")
    assert finding.code == Code.CONNECTIONS_OVERDUE
    assert finding.what == "5 overdue, such as conn_4, conn_3, conn_2"
    assert "authpipe reconcile" in finding.remedy
