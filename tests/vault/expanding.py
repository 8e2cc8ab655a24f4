"""What a migration would do to a PostgreSQL that others are using, read from the statements it gives (ADR 0016)."""

import io
import re
from collections.abc import Iterator
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

LITERAL = r"('[^']*'|-?\d+(\.\d+)?|true|false|NULL)"
EXPANDS = (
    r"CREATE TABLE \w+ \(.*\)",
    rf"ALTER TABLE \w+ ADD COLUMN \w+( (?!DEFAULT|NOT)[\w()]+)+( DEFAULT {LITERAL})?( NOT NULL)?",
    r"DROP INDEX CONCURRENTLY IF EXISTS \w+",
    r"CREATE INDEX CONCURRENTLY \w+ ON .*",
    r"(SET lock_timeout = 0|RESET lock_timeout|BEGIN|COMMIT)",
)
"""Statements that hold a table for a moment at most, and that versions before can live with."""

TAKES_AWAY = r"(DROP TABLE|ALTER TABLE \w+ DROP (COLUMN|CONSTRAINT)|DROP INDEX (?!CONCURRENTLY))"

ADVICE = (
    (r"RENAME", "add the new name beside the old, write both for a release, then drop the old one"),
    (r"ALTER COLUMN \w+ TYPE", "add a column of the new type, write both for a release, then drop the old one"),
    (r"SET NOT NULL", "leave it empty and let the code refuse; checking every row holds the table"),
    (
        r"ADD COLUMN (?!.*DEFAULT).* NOT NULL",
        "give it a server_default, or let it be empty: versions before do not write it",
    ),
    (r"ADD COLUMN", "give it a fixed default: one that is worked out writes every row anew while it holds the table"),
    (r"CREATE UNIQUE INDEX", "versions before may write what it refuses: check in the code, or make a new table"),
    (r"CREATE INDEX", "build it by vault.migrations.online.create_index, in a migration of its own"),
    (r"ADD (CONSTRAINT|FOREIGN|CHECK)", "versions before may write what it refuses, and checking holds the table"),
    (r"(UPDATE|DELETE|INSERT)", "it holds rows for long: let the running version fill them in, a few at a time"),
)


def objections(migration: Any) -> list[str]:
    """Everything in its `upgrade()` that is not a plain expansion, each with what to do instead."""
    statements = list(_statements(migration))
    made = {name for s in statements for name in re.findall(r"^CREATE TABLE (\w+)", s)}
    found = [f"{s[:100]}: {_advice(s)}" for s in statements if not _expands(s, made) and not _told(migration, s)]
    concurrently = [s for s in statements if "CONCURRENTLY" in s]
    others = [s for s in statements if s not in concurrently and not re.fullmatch(EXPANDS[-1], s)]
    if concurrently and others:
        found.append(f"{others[0][:100]}: an index built concurrently ends the transaction; give it a migration alone")
    return found


def _statements(migration: Any) -> Iterator[str]:
    out = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": out})
    with Operations.context(context):
        migration.upgrade()
    for statement in out.getvalue().split(";"):
        if plain := " ".join(statement.replace('"', "").split()):
            yield plain


def _expands(statement: str, made: set[str]) -> bool:
    """On a table that the same migration makes, everything is allowed: nobody uses it yet."""
    new = re.match(r"CREATE (?:UNIQUE )?INDEX \w+ ON (\w+)|(?:ALTER TABLE|INSERT INTO) (\w+)", statement)
    if new and (new[1] or new[2]) in made:
        return True
    if re.search(r"ADD COLUMN", statement) and "NOT NULL" in statement and "DEFAULT" not in statement:
        return False
    return any(re.fullmatch(pattern, statement) for pattern in EXPANDS)


def _told(migration: Any, statement: str) -> bool:
    """Taking away is for a migration that shuts out the versions that still use it."""
    return bool(re.match(TAKES_AWAY, statement)) and migration.serves_from != migration.served_before


def _advice(statement: str) -> str:
    if re.match(TAKES_AWAY, statement):
        return "first a release that does without it; then drop it, and set serves_from to that release's revision"
    return next((said for pattern, said in ADVICE if re.search(pattern, statement)), "not known to be harmless")
