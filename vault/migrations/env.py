"""Runs the migrations on the connection that `vault.revisions.upgrade` hands over.

In its transaction if it is in one, else each in a transaction of its own. What a migration says of older versions is
kept beside its revision.
"""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import JSON, BigInteger
from sqlmodel import AutoString, col, delete

from vault.columns import UtcDateTime
from vault.tables import SchemaMark, Table

PLAIN: dict[type, str] = {
    UtcDateTime: "sa.DateTime(timezone=True)",
    AutoString: "sa.String()",
    JSON: "sa.JSON()",
    BigInteger: 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")',
}


def render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    # A migration must not change when our column types do, so it names the types beneath them.
    return next((plain for ours, plain in PLAIN.items() if isinstance(item, ours)), False) if kind == "type" else False


def keep_mark(ctx: MigrationContext, step: MigrationInfo, heads: Any, run_args: Any) -> None:
    script = step.up_revision
    serves_from = getattr(script.module, "serves_from", None) if isinstance(script, Script) else None
    if serves_from is None or not step.is_upgrade or ctx.connection is None:
        return
    ctx.connection.execute(delete(SchemaMark).where(col(SchemaMark.revision) == step.up_revision_id))
    mark = {"revision": step.up_revision_id, "serves_from": serves_from}
    ctx.connection.execute(SchemaMark.__table__.insert().values(mark))  # type: ignore[attr-defined]


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    render_item=render,
    transaction_per_migration=True,
    on_version_apply=keep_mark,
)
with context.begin_transaction():
    context.run_migrations()
