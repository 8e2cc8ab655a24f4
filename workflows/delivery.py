"""Delivers the events of one workspace: it only waits.

A signal is a hint that something was queued, a timer the guarantee. It ends when nothing has waited for a while, and is
started again by the next event. Changing the order or kind of commands breaks living runs, as in `workflows.life`.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.deliver import DeliveryActivities
    from activities.messages import DeliveryOrder, DeliveryReport
    from domain.headline import clock
    from workflows.details import page
    from workflows.queues import DELIVERY_QUEUE

# A wake after eviction replays the whole run, so runs are kept short (docs/adr/0002).
ROUNDS_PER_RUN = 20
# Longer than a round, with the attempt that began last.
ONE_ROUND = timedelta(seconds=75)
HEARTBEAT = timedelta(seconds=15)
RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=1))
# A hint may be lost.
LONGEST_WAIT = timedelta(seconds=60)
IDLE = timedelta(minutes=10)


def delivery_id(workspace_id: str) -> str:
    """The one workflow that delivers a workspace's events."""
    return f"{workspace_id}/events"


def delivery_summary(workspace_id: str) -> str:
    """What it is, in a line."""
    return f"Delivery of the events of workspace {workspace_id}"


@workflow.defn(name="EventDelivery")
class EventDelivery:
    """Looks at once, whenever it is told, and when the next event is due."""

    @workflow.init
    def __init__(self, order: DeliveryOrder) -> None:
        self.order = order
        self.told = False

    @workflow.run
    async def run(self, order: DeliveryOrder) -> None:
        for _ in range(ROUNDS_PER_RUN):
            self.told = False
            report = await self._deliver()
            workflow.set_current_details(details(self.order.workspace_id, report))
            if not report.more and not await self._wait(report):
                return
        workflow.continue_as_new(self.order)

    @workflow.signal
    def queued(self) -> None:
        """Something was queued, or the endpoint was set."""
        self.told = True

    async def _deliver(self) -> DeliveryReport:
        return await workflow.execute_activity_method(
            DeliveryActivities.deliver,
            self.order,
            task_queue=DELIVERY_QUEUE,
            start_to_close_timeout=ONE_ROUND,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            summary="deliver what is due",
        )

    async def _wait(self, report: DeliveryReport) -> bool:
        """Wait for a hint or for the next event; False if there was neither, and nothing waits."""
        try:
            await workflow.wait_condition(
                lambda: self.told, timeout=self._span(report), timeout_summary=timer_summary(report)
            )
        except TimeoutError:
            # A hint that came in the same moment as the end of the wait must not be lost with the run.
            return self.told or report.next_at is not None
        return True

    def _span(self, report: DeliveryReport) -> timedelta:
        if report.next_at is None:
            return IDLE
        # Never zero: a clock that runs behind would make a loop without an end.
        return max(min(report.next_at - workflow.now(), LONGEST_WAIT), timedelta(seconds=1))


def details(workspace_id: str, report: DeliveryReport) -> str:
    """The live page, in Markdown."""
    last = f", last error: {report.last_error}" if report.last_error else ""
    rows = [
        ("Endpoint", report.endpoint),
        ("Last round", f"{report.delivered} delivered, {report.failed} failed{last}"),
        ("Next", "at once" if report.more else timer_summary(report)),
    ]
    return page(delivery_summary(workspace_id), rows)


def timer_summary(report: DeliveryReport) -> str:
    """What it waits for."""
    return f"next event due at {clock(report.next_at)}" if report.next_at else "nothing waits; for the next event"
