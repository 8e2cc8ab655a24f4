"""The workflow that delivers a workspace's events: when it looks, when it ends. Its activity is a stand-in."""

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle, WorkflowHistory
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.messages import DeliveryOrder, DeliveryReport
from tests.time_skipping import pass_time
from worker import WORKFLOWS
from workflows.delivery import ROUNDS_PER_RUN, EventDelivery, delivery_id, delivery_summary, details, timer_summary
from workflows.queues import DELIVERY_QUEUE, LIFE_QUEUE, provider_queue

IDLE = DeliveryReport("ready")
MORE = DeliveryReport("ready", delivered=5, more=True)
Report = DeliveryReport | Callable[[datetime], DeliveryReport] | Exception


def due_in(**by: float) -> Callable[[datetime], DeliveryReport]:
    return lambda now: DeliveryReport("ready", failed=1, next_at=now + timedelta(**by), last_error="status_500")


@dataclass
class Outbox:
    """What the stand-in answers, round by round; then nothing waits any more."""

    reports: deque[Report] = field(default_factory=deque)
    rounds: list[datetime] = field(default_factory=list)


class StandIn:
    """The activity by its real name."""

    def __init__(self) -> None:
        self.outboxes: dict[str, Outbox] = {}

    @activity.defn
    async def deliver(self, order: DeliveryOrder) -> DeliveryReport:
        outbox, at = self.outboxes[order.workspace_id], activity.info().started_time
        outbox.rounds.append(at)
        report = outbox.reports.popleft() if outbox.reports else IDLE
        if isinstance(report, Exception):
            raise report
        return report if isinstance(report, DeliveryReport) else report(at)


@dataclass
class Delivery:
    """A running delivery and its script."""

    engine: WorkflowEnvironment
    outbox: Outbox
    workspace_id: str
    handle: WorkflowHandle[Any, Any]

    async def sleep(self, **by: float) -> None:
        await pass_time(self.engine, timedelta(**by))

    async def rounds(self) -> list[float]:
        """When it looked, in seconds from the first time."""
        return [round((at - self.outbox.rounds[0]).total_seconds(), 1) for at in self.outbox.rounds]

    async def running(self) -> bool:
        return (await self.handle.describe()).status is WorkflowExecutionStatus.RUNNING

    async def runs(self) -> list[WorkflowHistory]:
        last = await self.handle.fetch_history()
        found, run_id = [], last.events[0].workflow_execution_started_event_attributes.first_execution_run_id
        while run_id:
            history = await self.engine.client.get_workflow_handle(self.handle.id, run_id=run_id).fetch_history()
            found.append(history)
            run_id = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return found


@pytest.fixture(scope="module")
async def stand_in(engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner) -> AsyncIterator[StandIn]:
    acts = StandIn()
    waiting = Worker(engine.client, task_queue=LIFE_QUEUE, workflows=WORKFLOWS, workflow_runner=strict)
    delivering = Worker(engine.client, task_queue=DELIVERY_QUEUE, activities=[acts.deliver])
    async with waiting, delivering:
        yield acts


numbers = itertools.count(1)
Begin = Callable[..., Any]


@pytest.fixture
async def begin(engine: WorkflowEnvironment, stand_in: StandIn) -> AsyncIterator[Begin]:
    """`await begin(report, …)`: a delivery whose rounds go so, ended with the test."""
    begun: list[Delivery] = []

    async def start(*reports: Report) -> Delivery:
        workspace_id = f"workspace-{next(numbers)}"
        stand_in.outboxes[workspace_id] = outbox = Outbox(deque(reports))
        begun.append(Delivery(engine, outbox, workspace_id, await hint(engine, workspace_id)))
        return begun[-1]

    yield start
    for delivery in begun:
        if await delivery.running():
            await delivery.handle.terminate()


async def hint(engine: WorkflowEnvironment, workspace_id: str) -> WorkflowHandle[Any, Any]:
    """As `runtime.hints` does it."""
    return await engine.client.start_workflow(
        EventDelivery.run,
        DeliveryOrder(workspace_id),
        id=delivery_id(workspace_id),
        task_queue=LIFE_QUEUE,
        start_signal="queued",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=delivery_summary(workspace_id),
    )


async def test_it_looks_at_once_and_again_when_the_next_event_is_due(begin: Begin) -> None:
    delivery = await begin(due_in(seconds=5), due_in(seconds=20))
    await delivery.sleep(seconds=40)
    assert await delivery.rounds() == pytest.approx([0, 5, 25], abs=1)


async def test_while_there_is_more_it_does_not_wait(begin: Begin) -> None:
    delivery = await begin(MORE, MORE, MORE)
    await delivery.sleep(seconds=2)
    assert await delivery.rounds() == pytest.approx([0, 0, 0, 0], abs=1)


async def test_while_anything_waits_it_looks_every_minute_since_a_hint_may_be_lost(begin: Begin) -> None:
    delivery = await begin(*[due_in(hours=10)] * 10)
    await delivery.sleep(seconds=150)
    assert await delivery.rounds() == pytest.approx([0, 60, 120], abs=1)


async def test_an_event_that_was_due_long_ago_makes_no_loop(begin: Begin) -> None:
    delivery = await begin(*[due_in(seconds=-100)] * 100)
    await delivery.sleep(seconds=5)
    assert len(delivery.outbox.rounds) <= 7


async def test_a_hint_is_followed_at_once(engine: WorkflowEnvironment, begin: Begin) -> None:
    delivery = await begin(due_in(hours=1))
    await delivery.sleep(seconds=30)
    await hint(engine, delivery.workspace_id)
    await delivery.sleep(seconds=1)
    assert await delivery.rounds() == pytest.approx([0, 30], abs=1)


async def test_with_nothing_waiting_it_ends_after_ten_minutes_and_a_hint_starts_it_again(
    engine: WorkflowEnvironment, begin: Begin
) -> None:
    delivery = await begin()
    await delivery.sleep(minutes=9)
    assert await delivery.running()
    await delivery.sleep(minutes=2)
    assert not await delivery.running()
    assert len(delivery.outbox.rounds) == 1
    delivery.handle = await hint(engine, delivery.workspace_id)
    await delivery.sleep(seconds=1)
    assert len(delivery.outbox.rounds) == 2


async def test_a_hint_in_the_last_moment_is_not_lost(engine: WorkflowEnvironment, begin: Begin) -> None:
    """Whether it meets the old run or starts a new one, somebody looks."""
    delivery = await begin()
    await delivery.sleep(minutes=9, seconds=59)
    for n in range(1, 4):
        delivery.handle = await hint(engine, delivery.workspace_id)
        await delivery.sleep(seconds=1)
        assert len(delivery.outbox.rounds) >= 1 + n


async def test_a_round_that_fails_is_tried_until_it_works(begin: Begin) -> None:
    delivery = await begin(ApplicationError("OperationalError in deliver"), ApplicationError("again"), due_in(hours=1))
    await delivery.sleep(seconds=10)
    assert len(delivery.outbox.rounds) == 3
    assert await delivery.running()


async def test_it_continues_as_new_early_and_goes_on(begin: Begin, strict: SandboxedWorkflowRunner) -> None:
    delivery = await begin(*[due_in(seconds=30)] * (ROUNDS_PER_RUN + 3))
    await delivery.sleep(seconds=30 * (ROUNDS_PER_RUN + 2) + 5)
    runs = await delivery.runs()
    assert len(runs) == 2
    assert len(runs[0].events) < 250
    assert len(delivery.outbox.rounds) == ROUNDS_PER_RUN + 3
    for run in runs:
        await Replayer(workflows=WORKFLOWS, workflow_runner=strict).replay_workflow(run)


async def test_a_person_reads_where_it_stands(begin: Begin) -> None:
    delivery = await begin(due_in(hours=1))
    await delivery.sleep(seconds=1)
    texts = [event.user_metadata.summary.data.decode() for run in await delivery.runs() for event in run.events]
    assert '"deliver what is due"' in texts
    assert any(text.startswith('"next event due at ') for text in texts)


def test_the_details_say_how_the_endpoint_is_and_what_is_next() -> None:
    at = datetime(2026, 3, 1, 14, 2, 10, tzinfo=UTC)
    report = DeliveryReport("paused", delivered=2, failed=1, next_at=at, last_error="status_503")
    assert details("default", report).splitlines() == [
        "**Delivery of the events of workspace default**",
        "",
        "- Endpoint: paused",
        "- Last round: 2 delivered, 1 failed, last error: status_503",
        "- Next: next event due at 2026-03-01 14:02:10 UTC",
    ]
    assert timer_summary(IDLE) == "nothing waits; for the next event"


def test_no_provider_shares_the_queue() -> None:
    assert provider_queue("delivery") != DELIVERY_QUEUE
