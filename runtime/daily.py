"""What runs once a day: a schedule in the engine, so that it runs however many workers there are, and can be seen."""

from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.types import MethodAsyncNoParam

from api.engine import if_known
from workflows.queues import LIFE_QUEUE
from workflows.retention import Retention

RETENTION = "authpipe-retention"
EVERY = timedelta(days=1)
SPREAD = timedelta(hours=1)
# After a version before came back that does not know the workflow, nothing else would end it.
LONGEST = timedelta(hours=22)


async def is_scheduled(client: Client, schedule_id: str) -> bool:
    """Whether the engine's store has it."""
    return await if_known(client.get_schedule_handle(schedule_id).describe()) is not None


async def schedule_daily(client: Client, schedule_id: str, run: MethodAsyncNoParam[Any, Any], summary: str) -> bool:
    """Have the workflow run daily, never twice at once; False if another worker was first to say so."""
    action = ScheduleActionStartWorkflow(
        run,
        id=f"{schedule_id}-daily",
        task_queue=LIFE_QUEUE,
        static_summary=summary,
        execution_timeout=LONGEST,
    )
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)], jitter=SPREAD)
    daily = Schedule(action=action, spec=spec, policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP))
    try:
        await client.create_schedule(schedule_id, daily)
    except ScheduleAlreadyRunningError:
        return False
    return True


async def ensure_retention(client: Client) -> None:
    """Schedule the destruction of what is over, if it is not."""
    if not await is_scheduled(client, RETENTION):
        await schedule_daily(client, RETENTION, Retention.run, "Destroy what is over")
