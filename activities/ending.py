"""Work that takes long is given up at once when its worker ends: it goes on elsewhere."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

T = TypeVar("T")


async def unless(work: Awaitable[T], *endings: Awaitable[Any]) -> T | None:
    """What `work` answers; None if one of `endings` comes first, and then the work is cancelled."""
    doing, *told = (asyncio.ensure_future(each) for each in (work, *endings))
    try:
        await asyncio.wait({doing, *told}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, *told):
            task.cancel()
        await asyncio.gather(doing, *told, return_exceptions=True)


def interrupted() -> ApplicationError:
    """What an activity raises that was given up: no failure of anybody's, and tried again."""
    return ApplicationError("interrupted; tried again", type="Interrupted", category=ApplicationErrorCategory.BENIGN)
