"""Migrations expand first and contract later, so that versions before may serve meanwhile (ADR 0016)."""

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.script import ScriptDirectory

from tests.vault.expanding import objections
from vault.migrations import online
from vault.revisions import alembic_config

BEFORE_THE_RULE = {"0001", "0002", "0003", "0004"}


def migrations() -> list[Any]:
    """The modules after the rule, the first one first; each with `served_before`, what the one before it says."""
    scripts = reversed(list(ScriptDirectory.from_config(alembic_config()).walk_revisions()))
    modules = [script.module for script in scripts if script.revision not in BEFORE_THE_RULE]
    for before, module in zip([None, *modules], modules, strict=False):
        module.served_before = before.serves_from if before else module.serves_from
    return modules


@pytest.mark.parametrize("migration", migrations(), ids=lambda module: module.revision)
def test_a_migration_only_expands_or_shuts_out_those_who_use_what_it_takes_away(migration: Any) -> None:
    assert objections(migration) == []


def test_which_versions_may_serve_never_goes_back() -> None:
    order = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]
    said = [order.index(module.serves_from) for module in migrations()]
    assert said == sorted(said)
    assert all(at <= order.index(module.revision) for at, module in zip(said, migrations(), strict=True))


def column(name: str = "x", kind: Any = sa.String, **more: Any) -> "sa.Column[Any]":
    return sa.Column(name, kind(), **more)


def changed(**how: Any) -> None:
    with op.batch_alter_table("life") as batch:
        batch.alter_column("status", **how)


def table() -> None:
    op.create_table("new", column("id", primary_key=True), column("n", sa.Integer, nullable=False))


EXPANSIONS = {
    "a table": table,
    "a table with an index": lambda: (table(), op.create_index("ix_new_n", "new", ["n"])),
    "a column that may be empty": lambda: op.add_column("life", column(nullable=True)),
    "a column with a zone": lambda: op.add_column("life", sa.Column("x", sa.DateTime(timezone=True), nullable=True)),
    "a column with a default": lambda: op.add_column("life", column(nullable=False, server_default="")),
    "a number with a default": lambda: op.add_column("life", column(kind=sa.Integer, server_default=sa.text("0"))),
    "an index, built while others write": lambda: online.create_index("ix_life_x", "life", ["x"]),
}
REFUSED = {
    "dropping a table": (lambda: op.drop_table("event"), "first a release that does without it"),
    "dropping a column": (lambda: op.drop_column("life", "status"), "first a release that does without it"),
    "dropping an index": (lambda: op.drop_index("ix_life_probe_at", "life"), "first a release that does without it"),
    "renaming a table": (lambda: op.rename_table("event", "fact"), "write both for a release"),
    "renaming a column": (lambda: changed(new_column_name="state"), "write both for a release"),
    "another type": (lambda: changed(type_=sa.Integer()), "add a column of the new type"),
    "not null afterwards": (lambda: changed(nullable=False), "let the code refuse"),
    "not null without default": (lambda: op.add_column("life", column(nullable=False)), "give it a server_default"),
    "a default worked out": (
        lambda: op.add_column("life", column(nullable=False, server_default=sa.text("gen_random_uuid()"))),
        "give it a fixed default",
    ),
    "an index under lock": (lambda: op.create_index("ix_life_x", "life", ["x"]), "online.create_index"),
    "a unique index": (lambda: op.create_index("uq_life_x", "life", ["x"], unique=True), "may write what it refuses"),
    "a constraint": (lambda: op.create_unique_constraint("uq_x", "life", ["x"]), "may write what it refuses"),
    "every row": (lambda: op.execute("UPDATE life SET status = ''"), "a few at a time"),
    "what nobody knows": (lambda: op.execute("CLUSTER life"), "not known to be harmless"),
    "an index and a column": (
        lambda: (op.add_column("life", column()), online.create_index("ix_life_x", "life", ["x"])),
        "give it a migration alone",
    ),
}


@pytest.mark.parametrize("change", EXPANSIONS)
def test_what_expands_is_taken(change: str) -> None:
    assert objections(SimpleNamespace(upgrade=EXPANSIONS[change], serves_from="0005", served_before="0005")) == []


@pytest.mark.parametrize("change", REFUSED)
def test_what_does_not_is_refused_with_what_to_do_instead(change: str) -> None:
    does, said = REFUSED[change]
    (objection,) = objections(SimpleNamespace(upgrade=does, serves_from="0005", served_before="0005"))
    assert said in objection


@pytest.mark.parametrize("change", [name for name in REFUSED if name.startswith("dropping")])
def test_taking_away_is_taken_from_a_migration_that_shuts_out_the_versions_before(change: str) -> None:
    does, _ = REFUSED[change]
    assert objections(SimpleNamespace(upgrade=does, serves_from="0006", served_before="0005")) == []
