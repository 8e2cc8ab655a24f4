"""Runs retention, daily by its schedule. It is one activity."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.retention import Forgotten, RetentionActivities
    from workflows.daily import long


@workflow.defn(name="Retention")
class Retention:
    """Destroys once what is over for long enough."""

    @workflow.run
    async def run(self) -> Forgotten:
        return await workflow.execute_activity_method(
            RetentionActivities.forget, **long("destroy what is over for long enough")
        )
