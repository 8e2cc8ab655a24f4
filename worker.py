"""Runs workflows and activities: the one list of both. Start any number of these."""

import asyncio
import gc
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import structlog
import uvloop
from temporalio.client import Client
from temporalio.worker import (
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.breaker import BreakerActivities
from activities.deliver import DeliveryActivities
from activities.deps import Deps
from activities.guard import Guard
from activities.life import LifeActivities
from activities.reconcile import ReconcileActivities
from activities.retention import RetentionActivities
from api.breakers import Breakers
from api.lives import Lives
from runtime.compose import open_activity_deps
from runtime.ending import leave
from runtime.errors import StartError
from runtime.hints import Hints
from runtime.logs import configure_logs
from runtime.measuring import measure_for_ever
from runtime.pace import STARTS_PER_SECOND, Pace
from runtime.rates import Rates
from runtime.reconcile_daily import full_pass
from runtime.settings import Settings, load_settings
from runtime.sweeper import Sweeper, sweep_for_ever
from runtime.telemetry import Telemetry, open_telemetry
from runtime.temporal import connect_registered
from runtime.tracing import mark_with
from runtime.worker_version import deployment_of, say_whether_it_gets_work
from vault.lives import providers_of_living
from workflows.breaker import Breaker
from workflows.causes import Causes
from workflows.delivery import EventDelivery
from workflows.life import ConnectionLife
from workflows.queues import DELIVERY_QUEUE, LIFE_QUEUE, provider_queue
from workflows.reconcile import Reconcile
from workflows.retention import Retention

WORKFLOWS = [ConnectionLife, Breaker, EventDelivery, Reconcile, Retention]
CACHED_LIVES = 2000
# They share one core anyway. More at once would only wait in the engine to be written down; what waits there too long
# is given up, read anew and replayed, and an engine that was busy stays so.
TASKS_AT_ONCE = 16
DELIVERIES_AT_ONCE = 50
GRACE = timedelta(seconds=5)
FAILED, REFUSED = 1, 2

log = structlog.get_logger(__name__)


def build_workers(
    client: Client,
    deps: Deps,
    providers: Iterable[str],
    *,
    sandbox: bool,
    starts_per_second: float = STARTS_PER_SECOND,
    rates: Rates | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> Sequence[Worker]:
    """One worker for the lives, one for deliveries, one for each provider's activities.

    `providers` names those of living rows too: one whose file was taken away must still be deletable. All are of one
    `deployment`, so that a workflow's activities run in the build that the workflow runs in.
    """
    rates = rates or Rates(deps.catalog)
    deps = replace(deps, trip=Breakers(client).look, wake=Lives(client).wake, probe_turns=rates.probe_turn)
    acts, breaking = LifeActivities(deps), BreakerActivities(deps, rates.release_turn)
    reconciling = ReconcileActivities(full_pass(deps.db, Lives(client), client, deps.clock, starts_per_second))
    # Production may leave the sandbox (docs/adr/0003); the choice is made here, never in a workflow's decorator.
    runner: WorkflowRunner = SandboxedWorkflowRunner() if sandbox else UnsandboxedWorkflowRunner()
    lives = Worker(
        client,
        task_queue=LIFE_QUEUE,
        workflows=WORKFLOWS,
        activities=[
            acts.load,
            breaking.look,
            breaking.release,
            reconciling.reconcile,
            RetentionActivities(deps).forget,
        ],
        workflow_runner=runner,
        interceptors=[Guard(deps.tracer), Causes(mark_with(deps.tracer))],
        max_cached_workflows=CACHED_LIVES,
        max_concurrent_workflow_tasks=TASKS_AT_ONCE,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2, maximum=TASKS_AT_ONCE, initial=5),
        graceful_shutdown_timeout=GRACE,
        deployment_config=deployment,
    )
    at_providers = (_provider_worker(client, deps, name, rates.of(name), deployment) for name in providers)
    return [lives, _delivery_worker(client, deps, deployment), *at_providers]


def _delivery_worker(client: Client, deps: Deps, deployment: WorkerDeploymentConfig | None) -> Worker:
    return Worker(
        client,
        task_queue=DELIVERY_QUEUE,
        activities=[DeliveryActivities(deps).deliver],
        interceptors=[Guard(deps.tracer)],
        max_concurrent_activities=DELIVERIES_AT_ONCE,
        graceful_shutdown_timeout=GRACE,
        deployment_config=deployment,
    )


def _provider_worker(
    client: Client, deps: Deps, provider_id: str, calls_per_second: float, deployment: WorkerDeploymentConfig | None
) -> Worker:
    acts = LifeActivities(deps)
    return Worker(
        client,
        task_queue=provider_queue(provider_id),
        activities=[acts.refresh, acts.advance_attempt, acts.close_attempt, acts.probe, acts.revoke],
        interceptors=[Guard(deps.tracer)],
        max_task_queue_activities_per_second=calls_per_second,
        activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, maximum=20, initial=2),
        graceful_shutdown_timeout=GRACE,
        deployment_config=deployment,
    )


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then let running activities finish for a few seconds."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_telemetry(settings, "worker") as telemetry, open_activity_deps(settings, telemetry) as deps:
        client = await _connected(settings, telemetry, stop)
        if client is None:
            return
        deps.db.on_events = hints = Hints(client)
        served = set(deps.catalog) | await providers_of_living(deps.db)
        rate = settings.reconcile_starts_per_second
        deployment = deployment_of(settings)
        if deployment.use_worker_versioning:
            await say_whether_it_gets_work(client, deployment.version)
        workers = build_workers(
            client,
            deps,
            served,
            sandbox=settings.sandbox,
            starts_per_second=rate,
            rates=Rates(deps.catalog, settings.provider_calls_per_second, settings.probe_share),
            deployment=deployment,
        )
        sweeper = Sweeper(deps.db, Lives(client), deps.clock, Pace(rate), Breakers(client).start)
        # Without metrics nobody would see what is counted.
        counting = [measure_for_ever(deps)] if telemetry.runtime else []
        beside = [asyncio.create_task(work) for work in (sweep_for_ever(sweeper, client), *counting)]
        log.info("working", providers=sorted(served))
        await _work(workers, stop)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await hints.close()


async def _connected(settings: Settings, telemetry: Telemetry, stop: asyncio.Event) -> Client | None:
    """A client once Temporal answers; None if we are told to end while it is away."""
    connecting = asyncio.create_task(connect_registered(settings, telemetry))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        connecting.cancel()
        return None
    return connecting.result()


async def _work(workers: Sequence[Worker], stop: asyncio.Event) -> None:
    """All at once, and all told to end at once: one after the other, their times of grace would add up."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)


def _collect_seldom() -> None:
    """What is made and dropped within one activity is more than the default waits for: each look is in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def work() -> None:
    """Until SIGTERM or SIGINT. Raises `StartError`."""
    settings = load_settings()
    configure_logs(settings, "worker")
    _collect_seldom()
    uvloop.run(run(settings))


def main() -> NoReturn:
    """Entry of `authpipe-worker`."""
    code = FAILED
    try:
        work()
        code = 0
    except StartError as error:
        code = REFUSED
        print(f"authpipe: {error}", file=sys.stderr)  # noqa: T201
    except Exception:  # noqa: BLE001 - whatever it is: it has to be seen, and the process to end
        traceback.print_exc()
    finally:
        leave(code)


if __name__ == "__main__":
    main()
