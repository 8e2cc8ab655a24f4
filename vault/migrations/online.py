"""What a migration may do to a table that is in use only in this way. `docs/adr/0016` has the rules for all others."""

from collections.abc import Sequence

from alembic import op
from sqlalchemy import text


def create_index(name: str, table: str, columns: Sequence[str], *, where: str | None = None) -> None:
    """Build an index while others write, of all rows or of those `where` names.

    It must be all that its migration does: it ends the transaction. What an earlier try left half built is taken away
    first, so the migration may simply be run again.
    """
    context, partial = op.get_context(), None if where is None else text(where)
    if context.dialect.name != "postgresql":
        op.create_index(name, table, columns, sqlite_where=partial)
        return
    with context.autocommit_block():
        # It waits for every transaction that began before it, but nobody waits for it.
        op.execute("SET lock_timeout = 0")
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_where=partial, postgresql_concurrently=True)
        op.execute("RESET lock_timeout")
