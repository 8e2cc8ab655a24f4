"""Runs the full pass: daily by its schedule, and for workers that start. The pass is one activity."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reconcile import ReconcileActivities, Reconciled
    from workflows.daily import long


@workflow.defn(name="Reconcile")
class Reconcile:
    """One full pass."""

    @workflow.run
    async def run(self) -> Reconciled:
        return await workflow.execute_activity_method(
            ReconcileActivities.reconcile, **long("compare the vault with what runs")
        )
