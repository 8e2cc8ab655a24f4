"""Reads the gauges out of the vault again and again: every worker does, and `max` joins them, for they are the same."""

import asyncio
from datetime import timedelta

import structlog

from activities.deps import Deps
from domain.errors import where
from vault.standing import standing

EVERY = timedelta(seconds=15)
log = structlog.get_logger(__name__)


async def measure_for_ever(deps: Deps) -> None:
    """Measure now and every 15 seconds. What fails is tried again then; meanwhile the last numbers stand."""
    while True:
        try:
            await measure(deps)
        except Exception as error:  # noqa: BLE001 - whatever it is: a loop that ended would end in silence
            log.warning("the vault is measured again later", error=type(error).__name__, where=where(error))
        await asyncio.sleep(EVERY.total_seconds())


async def measure(deps: Deps) -> None:
    """Once."""
    now = deps.clock()
    deps.measures.stands(await standing(deps.db, now), deps.catalog, now)
