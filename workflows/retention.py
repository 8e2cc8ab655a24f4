"""Runs retention, daily by its schedule. It is one activity."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.retention import Forgotten, RetentionActivities

# The first time on an old vault takes hours; the next day's must not find it running.
ONE_TRY = timedelta(hours=12)
ALL_TRIES = timedelta(hours=20)
HEARTBEAT = timedelta(seconds=30)
RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), backoff_coefficient=2, maximum_interval=timedelta(minutes=5))


@workflow.defn(name="Retention")
class Retention:
    """Destroys once what is over for long enough."""

    @workflow.run
    async def run(self) -> Forgotten:
        return await workflow.execute_activity_method(
            RetentionActivities.forget,
            start_to_close_timeout=ONE_TRY,
            schedule_to_close_timeout=ALL_TRIES,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            summary="destroy what is over for long enough",
        )
