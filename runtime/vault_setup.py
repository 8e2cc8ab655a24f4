"""Opens the vault for a process, with the checks of a start: schema, keys. Also what the command does to it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from asyncpg import PostgresError  # type: ignore[import-untyped]
from sqlalchemy.exc import SQLAlchemyError

from runtime.errors import StartError
from runtime.keys import load_key_ring
from runtime.settings import Settings, variable
from vault import api_keys
from vault.api_keys import Role
from vault.database import Database, migrate
from vault.engines import DatabaseUnusable
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.keys import KeyRingError as VaultKeyRingError
from vault.revisions import Standing


@dataclass(frozen=True, slots=True)
class Vault:
    """The database and the keys that open what is sealed in it."""

    db: Database
    keys: Keys


def clock() -> datetime:
    """The time, in UTC: the one source for a process, passed down from here."""
    return datetime.now(UTC)


@asynccontextmanager
async def open_vault(settings: Settings) -> AsyncIterator[Vault]:
    """The vault, checked. Raises a refusal if the database is absent or behind, or a key is missing or wrong."""
    given = load_key_ring(settings)
    async with open_database(settings) as db:
        with _one_line():
            keys = keys_of(db, given)
            await keys.check()
        yield Vault(db, keys)


def ring_of(given: Mapping[str, bytes]) -> KeyRing:
    """All of the keys open, the first one seals."""
    return KeyRing(given, active=next(iter(given)))


def keys_of(db: Database, given: Mapping[str, bytes]) -> Keys:
    """The data keys in that database, under these key-encryption keys."""
    return Keys(SqlKeyStore(db), ring_of(given), clock)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database alone, for what needs no key; its schema is the one this version needs."""
    with _one_line():
        db = Database.open(settings.database_url)
    try:
        with _one_line():
            await db.ping()
            behind = await db.behind()
        if behind:
            raise StartError(f"{variable('database_url')}: {behind}")
        yield db
    finally:
        await db.close()


def migrate_vault(settings: Settings) -> Standing:
    """Bring the database to this version's schema; where it stands then. Not for a running event loop."""
    with _one_line():
        return migrate(settings.database_url)


def migrated(stands: Standing) -> str:
    """A sentence on what came of migrating."""
    if stands.ahead:
        return (
            f"The database is at revision {stands.revision} of a newer version, which this one may serve too; "
            "nothing was changed."
        )
    return "The database is up to date."


async def check_vault(settings: Settings) -> None:
    """Migrate, then see that the keys fit: what `authpipe dev` does before it starts anything."""
    await asyncio.to_thread(migrate_vault, settings)
    async with open_vault(settings):
        pass


async def add_api_key(settings: Settings, workspace_id: str, name: str, role: Role) -> tuple[str, str]:
    """The id and the key itself, which is kept nowhere. A workspace that does not exist yet is made."""
    async with open_database(settings) as db:
        now = clock()
        await api_keys.ensure_workspace(db, workspace_id, now)
        return await api_keys.create_key(db, workspace_id, name, role, now)


async def list_api_keys(settings: Settings, workspace_id: str) -> list[tuple[str, str, str, str]]:
    """Id, role, time of making and name of each living key."""
    async with open_database(settings) as db:
        rows = await api_keys.list_keys(db, workspace_id)
    return [(row.id, row.role, row.created_at.isoformat(timespec="seconds"), row.name) for row in rows]


async def revoke_api_key(settings: Settings, workspace_id: str, key_id: str) -> None:
    """Raises `StartError` if the workspace has no living key of that id."""
    async with open_database(settings) as db:
        if not await api_keys.revoke_key(db, workspace_id, key_id, clock()):
            raise StartError(f"{key_id}: workspace {workspace_id!r} has no such key; see `authpipe api-keys list`")


async def rewrap_data_keys(settings: Settings, told: Callable[[int], None]) -> int:
    """Wrap every data key by the first key-encryption key; answers how many another had wrapped."""
    async with open_vault(settings) as vault:
        with _one_line():
            return await vault.keys.rewrap(told)


@contextmanager
def _one_line() -> Iterator[None]:
    """What the vault and its drivers say, as one sentence. Drivers name users and files, never passwords."""
    try:
        yield
    except (DatabaseUnusable, VaultKeyRingError) as error:
        raise StartError(str(error)) from error
    except (SQLAlchemyError, PostgresError) as error:
        cause = getattr(error, "orig", None) or error
        said = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise StartError(f"{variable('database_url')}: the database cannot be used ({said})") from error
