"""The straight way to the driver, past SQLAlchemy's session, for what is asked all the time.

Only statements that are made once and kept may go this way (`vault.statements`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.drivers import ERRORS, VIOLATIONS, Change, Driver
from vault.statements import Row, Statement, Statements


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a statement: the rows it answered, or how many it changed."""

    rows: Sequence[Row]
    rowcount: int

    def scalar_one_or_none(self) -> Any:
        """The first column of the only row."""
        return self.rows[0][0] if self.rows else None


class DirectTransaction:
    """Takes statements as a session does, as far as what takes either needs (`Tx`)."""

    def __init__(self, statements: Statements, change: Change) -> None:
        self._statements = statements
        self._change = change
        self.info: dict[str, Any] = {}

    async def exec(self, statement: Statement, *, params: Mapping[str, Any]) -> Answer:
        """Its errors become those of a session where the transaction is left (`Direct.transaction`)."""
        asking = self._statements.asking(statement)
        arguments = asking.arguments(params)
        if not asking.answers:
            return Answer((), await self._change.execute(asking.text, arguments))
        rows = [asking.row(raw) for raw in await self._change.fetch(asking.text, arguments)]
        return Answer(rows, len(rows))

    def undo(self) -> None:
        """Have it all rolled back at the end."""
        self.info.clear()
        self._change.undo()


Tx = AsyncSession | DirectTransaction
"""A transaction of either kind."""


class Direct:
    """A driver, asked by SQLAlchemy's statements."""

    def __init__(self, dialect: Dialect, driver: Driver) -> None:
        self._statements = Statements(dialect)
        self._driver = driver

    async def rows(self, statement: Select[*tuple[Any, ...]], values: Mapping[str, Any]) -> list[Row]:
        """All rows. Raises an `OSError` if the database does not answer."""
        asking = self._statements.asking(statement)
        return [asking.row(raw) for raw in await self._driver.fetch(asking.text, asking.arguments(values))]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[DirectTransaction]:
        """Committed at the end unless it was undone. Raises an `OSError`, or SQLAlchemy's errors."""
        try:
            async with self._driver.change() as change:
                yield DirectTransaction(self._statements, change)
        except ERRORS as error:
            raise _as_a_session_says(error) from error

    async def close(self) -> None:
        await self._driver.close()


def _as_a_session_says(error: Exception) -> DBAPIError:
    error.detail = None  # type: ignore[attr-defined] # PostgreSQL quotes the row there
    kind = IntegrityError if isinstance(error, VIOLATIONS) else OperationalError
    return kind(None, None, error, hide_parameters=True)
