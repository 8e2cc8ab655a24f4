"""Reaching Temporal: within seconds, and as one `Problem` where it is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Problem

CALL = timedelta(seconds=3)

T = TypeVar("T")


@asynccontextmanager
async def within_a_call() -> AsyncIterator[None]:
    """Bound what is done here. Raises `temporal_unavailable` if Temporal is away or does not answer in time."""
    try:
        async with asyncio.timeout(CALL.total_seconds()):
            yield
    except (RPCError, RuntimeError, TimeoutError) as error:
        raise Problem("temporal_unavailable", retry_after=2) from error


async def if_known(asked: Awaitable[T]) -> T | None:
    """What the engine answers, or None if it knows nothing under that id. Raises `RPCError` for anything else."""
    try:
        return await asked
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def task_attempt(handle: WorkflowHandle[Any, Any]) -> int:
    """Which try the run's next task is at: above one, the last one failed. 0 if no task waits, or nothing runs."""
    described = await if_known(handle.describe())
    return described.raw_description.pending_workflow_task.attempt if described else 0
