"""Runs the migrations on the connection that `vault.database.migrate` hands over, in its transaction."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON, BigInteger
from sqlmodel import AutoString

from vault.columns import UtcDateTime
from vault.tables import Table

PLAIN: dict[type, str] = {
    UtcDateTime: "sa.DateTime(timezone=True)",
    AutoString: "sa.String()",
    JSON: "sa.JSON()",
    BigInteger: 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")',
}


def render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    # A migration must not change when our column types do, so it names the types beneath them.
    return next((plain for ours, plain in PLAIN.items() if isinstance(item, ours)), False) if kind == "type" else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
