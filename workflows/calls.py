"""How the workflow calls its activities: queue, deadlines, summary, urgency. Each answers None if no result came."""

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.life import LifeActivities
    from activities.messages import (
        AttemptOrder,
        AttemptResult,
        LifeIds,
        ProbeOrder,
        ProbeReport,
        RefreshOrder,
        RefreshResult,
        RevokeResult,
    )
    from domain.identity import workflow_id
    from domain.life import Loaded
    from workflows import queues

T = TypeVar("T")

FINE = 1_000_000
"""Of the jitter: for a token of a year, the row's next refresh and the workflow's are seconds apart."""

# A probe, then a lease: HTTP and commit lie inside the lease (`runtime.settings` bounds both).
ONE_TRY = timedelta(seconds=50)
ALL_TRIES = timedelta(seconds=60)
HEARTBEAT = timedelta(seconds=10)
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=10)
)


async def load(life: LifeIds) -> Loaded | None:
    """Read the row; tried until the vault answers, since there is nothing else to do without it."""
    return await _result(
        workflow.execute_activity_method(
            LifeActivities.load,
            life,
            start_to_close_timeout=ONE_TRY,
            retry_policy=RETRY,
            summary="read the row",
        )
    )


async def refresh(order: RefreshOrder, *, forced: bool) -> RefreshResult | None:
    """Refresh, ahead of the scheduled ones if somebody waits for it."""
    return await _result(
        workflow.execute_activity_method(
            LifeActivities.refresh,
            _brief(order),
            **_provider_call(
                order.life,
                queues.NOW if forced else queues.SCHEDULED,
                f"refresh generation {order.generation}, asked for" if forced else None,
            ),
        )
    )


def _brief(order: RefreshOrder) -> RefreshOrder:
    """As often as this is written into histories, it names what is needed; the workflow's id has the rest."""
    life = LifeIds(life_id=order.life.life_id, provider_id=order.life.provider_id)
    return replace(order, life=life, jitter=int(order.jitter * FINE) / FINE)


async def attempt(order: AttemptOrder, *, closing: bool) -> AttemptResult | None:
    """Take an attempt further, or close it at its deadline."""
    return await _result(
        workflow.execute_activity_method(
            LifeActivities.close_attempt if closing else LifeActivities.advance_attempt,
            order,
            **_provider_call(order.life, queues.SOON, f"{'close' if closing else 'finish'} consent {order.session_id}"),
        )
    )


async def probe(order: ProbeOrder) -> ProbeReport | None:
    """Ask the provider whether the credential works; behind everything that changes something."""
    return await _result(
        workflow.execute_activity_method(
            LifeActivities.probe,
            order,
            **_provider_call(order.life, queues.BEHIND, f"probe generation {order.generation}"),
        )
    )


async def revoke(life: LifeIds) -> RevokeResult | None:
    """Tell the provider, then destroy the secret."""
    return await _result(
        workflow.execute_activity_method(
            LifeActivities.revoke,
            life,
            **_provider_call(life, queues.SOON, "revoke upstream and destroy the secret"),
        )
    )


async def wake(siblings: list[LifeIds]) -> None:
    """Let other lives read their rows now. One that does not run is started by the sweep, so no answer is needed."""
    for life in siblings:
        id_ = workflow_id(life.workspace_id, life.kind, life.provider_id, life.life_id)
        try:
            await workflow.get_external_workflow_handle(id_).signal("wake")
        except FailureError:
            continue


def _provider_call(life: LifeIds, urgency: int, summary: str | None) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        summary=summary,
        task_queue=queues.provider_queue(life.provider_id),
        start_to_close_timeout=ONE_TRY,
        schedule_to_close_timeout=ALL_TRIES,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=RETRY,
        priority=queues.priority(life, urgency),
    )


async def _result(call: Awaitable[T]) -> T | None:
    try:
        return await call
    except ActivityError as error:
        # A cancel from Temporal's UI ends the run; reconcile starts it again. It must not read as a failure.
        if is_cancelled_exception(error) and workflow.cancellation_reason() is not None:
            raise
        return None
