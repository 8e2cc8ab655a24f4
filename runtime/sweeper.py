"""Signals again what no workflow has acknowledged: the guarantee behind the API's signals, which are hints."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.lives import Lives
from domain.errors import Problem
from vault.configs import destroy_retired
from vault.database import Database
from vault.unheard import unacknowledged, undeleted

EVERY = timedelta(seconds=20)
PATIENCE = timedelta(seconds=10)
log = structlog.get_logger(__name__)


async def sweep_for_ever(db: Database, lives: Lives, clock: Callable[[], datetime]) -> None:
    """Sweep now and every 20 seconds; what fails is tried again the next time."""
    while True:
        try:
            await sweep(db, lives, clock())
        except (Problem, SQLAlchemyError, OSError) as error:
            log.warning("the sweep is tried again later", error=type(error).__name__)
        await asyncio.sleep(EVERY.total_seconds())


async def sweep(db: Database, lives: Lives, now: datetime) -> int:
    """Signal every callback and deletion that went unheard for ten seconds. Signals are idempotent by session id.

    Client secrets whose grace period is over go with it. Answers how many were signalled.
    """
    callbacks = await unacknowledged(db, now - PATIENCE)
    for life, session_id in callbacks:
        await lives.returned(life, session_id)
    deletions = await undeleted(db, now - PATIENCE)
    for life in deletions:
        await lives.delete(life)
    async with db.transaction() as tx:
        await destroy_retired(tx, now)
    if callbacks or deletions:
        log.info("signalled again", callbacks=len(callbacks), deletions=len(deletions))
    return len(callbacks) + len(deletions)
