"""Tells the engine that events were queued: a hint after a commit, which may be lost; the sweep makes up for it."""

import asyncio
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from activities.messages import DeliveryOrder
from api.engine import within_a_call
from domain.errors import Problem
from workflows.delivery import EventDelivery, delivery_id, delivery_summary
from workflows.queues import LIFE_QUEUE

# However many events a moment brings, a workspace's delivery is told of them once.
GATHER = timedelta(milliseconds=200)

log = structlog.get_logger(__name__)


class Hints:
    """Given to `Database.on_events`: starts a workspace's delivery, or lets it look. At once, then at most so often."""

    def __init__(self, client: Client, gather: timedelta = GATHER) -> None:
        self._client = client
        self._gather = gather
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def __call__(self, workspace_id: str) -> None:
        """It answers at once and never fails."""
        if workspace_id in self._telling:
            self._again.add(workspace_id)
        else:
            self._telling[workspace_id] = asyncio.create_task(self._tell(workspace_id))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._telling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, workspace_id: str) -> None:
        try:
            while True:
                self._again.discard(workspace_id)
                await self._signal(workspace_id)
                await asyncio.sleep(self._gather.total_seconds())
                if workspace_id not in self._again:
                    return
        finally:
            self._again.discard(workspace_id)
            del self._telling[workspace_id]

    async def _signal(self, workspace_id: str) -> None:
        try:
            async with within_a_call():
                await self._client.start_workflow(
                    EventDelivery.run,
                    DeliveryOrder(workspace_id),
                    id=delivery_id(workspace_id),
                    task_queue=LIFE_QUEUE,
                    start_signal=EventDelivery.queued.__name__,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    static_summary=delivery_summary(workspace_id),
                )
        except Problem as error:
            kind = type(error.__cause__).__name__
            log.info("a delivery was not told; the sweep does it", workspace_id=workspace_id, error=kind)
