"""Runs the full pass: daily by its schedule, and for workers that start. The pass is one activity."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.reconcile import ReconcileActivities, Reconciled

# A store of a million lives takes hours at the default rate; the next day's pass must not find this one running.
ONE_TRY = timedelta(hours=12)
ALL_TRIES = timedelta(hours=20)
# The worker beats every few seconds, but it may be at its busiest just now.
HEARTBEAT = timedelta(seconds=30)
RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), backoff_coefficient=2, maximum_interval=timedelta(minutes=5))


@workflow.defn(name="Reconcile")
class Reconcile:
    """One full pass."""

    @workflow.run
    async def run(self) -> Reconciled:
        return await workflow.execute_activity_method(
            ReconcileActivities.reconcile,
            start_to_close_timeout=ONE_TRY,
            schedule_to_close_timeout=ALL_TRIES,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            summary="compare the vault with what runs",
        )
