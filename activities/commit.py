"""Commit what a provider answered, although the database is away for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

T = TypeVar("T")

FIRST_PAUSE = timedelta(milliseconds=100)
LONGEST_PAUSE = timedelta(seconds=2)


async def commit_within(write: Callable[[], Awaitable[T]], clock: Callable[[], datetime], until: datetime) -> T:
    """Try `write` again while the database is away, until the lease ends; then the last error is raised.

    `write` must be idempotent: a commit whose answer was lost is made again.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await write()
        except IntegrityError:
            raise  # the database answered: the same write will be refused again
        except (DBAPIError, PoolTimeout, OSError):
            if clock() + pause >= until:
                raise
        await asyncio.sleep(pause.total_seconds())
        pause = min(pause * 2, LONGEST_PAUSE)
