"""The migrations that this version knows, and whether it may serve a database that a newer one migrated.

Each migration after 0004 states `serves_from`: the oldest revision whose version may still serve once it is done. The
database keeps that (docs/adr/0016), since a version cannot look into migrations that were written after it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlmodel import col, select

from vault.tables import SchemaMark

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config() -> Config:
    """Alembic set to the migrations of this package, wherever it is installed; the caller adds the connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def head() -> str:
    """The newest migration of this version."""
    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert revision is not None  # noqa: S101 - the package always holds the first migration
    return revision


@cache
def known() -> frozenset[str]:
    """Every migration of this version."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a database stands. `serves_from` is read where a newer version made it, and None if it does not say."""

    revision: str | None
    serves_from: str | None = None

    @property
    def ahead(self) -> bool:
        """A newer version migrated it."""
        return self.revision is not None and self.revision not in known()

    @property
    def objection(self) -> str | None:
        """None if this version may serve on it, else a sentence that says what to do."""
        if self.revision == head() or (self.ahead and self.serves_from in known()):
            return None
        if self.ahead:
            return (
                f"the database is at revision {self.revision}, which this version does not know (its own is {head()}); "
                "a newer version made it, and this one may not serve on it: run that version"
            )
        stands = self.revision or "none"
        return f"the database is at revision {stands}, this version needs {head()}; run `authpipe migrate`"


def standing(connection: Connection) -> Standing:
    """Read where the database stands."""
    stands = Standing(MigrationContext.configure(connection).get_current_revision())
    if not stands.ahead or not inspect(connection).has_table(SchemaMark.__tablename__):
        return stands
    query = select(SchemaMark.serves_from).where(col(SchemaMark.revision) == stands.revision)
    return Standing(stands.revision, connection.execute(query).scalar())


def upgrade(connection: Connection) -> None:
    """Apply every migration that is missing, in the connection's transaction, else each in one of its own."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
