"""Reaching Temporal: within seconds, and as one `Problem` where it is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.service import RPCError

from domain.errors import Problem

CALL = timedelta(seconds=3)


@asynccontextmanager
async def within_a_call() -> AsyncIterator[None]:
    """Bound what is done here. Raises `temporal_unavailable` if Temporal is away or does not answer in time."""
    try:
        async with asyncio.timeout(CALL.total_seconds()):
            yield
    except (RPCError, RuntimeError, TimeoutError) as error:
        raise Problem("temporal_unavailable", retry_after=2) from error
