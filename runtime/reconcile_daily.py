"""The full pass inside the engine: its schedule, asking for one now, and what a worker runs."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy

from activities.reconcile import Reconciled
from api.engine import if_known
from api.lives import Lives
from runtime.daily import is_scheduled, schedule_daily
from runtime.pace import Pace
from runtime.reconcile import reconcile
from runtime.reconcile_report import Report
from runtime.temporal import register_search_attributes
from vault.database import Database
from workflows.attributes import KEYS
from workflows.queues import LIFE_QUEUE
from workflows.reconcile import Reconcile

SCHEDULE_ID = "authpipe-reconcile"
NOW_ID = "authpipe-reconcile-now"
# A pass asks every life for its state, and for each that is in no worker's cache its history is replayed. Workers that
# are restarted again and again would do little else.
LATELY = timedelta(minutes=10)
SUMMARY = "Compare the vault with what runs"

log = structlog.get_logger(__name__)


async def ask_for_pass(client: Client) -> None:
    """Have a full pass run now. Workers that start together ask for the same one."""
    await client.start_workflow(
        Reconcile.run,
        id=NOW_ID,
        task_queue=LIFE_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=SUMMARY,
    )


async def passed_lately(client: Client, now: datetime) -> bool:
    """Whether a pass that a worker asked for ended well within the last ten minutes."""
    last = await if_known(client.get_workflow_handle(NOW_ID).describe())
    if last is None or last.status is not WorkflowExecutionStatus.COMPLETED:
        return False
    return last.close_time is not None and now - last.close_time < LATELY


async def ensure_schedule(client: Client) -> bool:
    """Make the daily schedule if it is missing; True if it had to be made.

    A store without it is new, so it gets our search attributes too: without them it refuses every life.
    """
    if await is_scheduled(client, SCHEDULE_ID):
        return False
    await register_search_attributes(client, KEYS)
    return await schedule_daily(client, SCHEDULE_ID, Reconcile.run, SUMMARY)


def full_pass(
    db: Database, lives: Lives, client: Client, clock: Callable[[], datetime], starts_per_second: float
) -> Callable[[], Awaitable[Reconciled]]:
    """What the activity runs: one pass, its outcome in the log, its counts in the history."""

    async def run() -> Reconciled:
        report = await reconcile(db, lives, client, clock, Pace(starts_per_second))
        _log(report)
        return counts(report)

    return run


def _log(report: Report) -> None:
    log.info("reconciled", living=report.living, running=report.running)
    for case, finding in report.seen():
        say = log.warning if finding.left else log.info
        say(
            "reconcile found",
            case=str(case),
            found=finding.found,
            mended=finding.mended,
            left=finding.left,
            examples=finding.examples,
            advice=report.advice(case),
        )


def counts(report: Report) -> Reconciled:
    """What may stand in a history."""
    seen = report.seen()
    return Reconciled(
        report.living,
        report.running,
        found={str(case): finding.found for case, finding in seen},
        mended={str(case): finding.mended for case, finding in seen},
        left={str(case): finding.left for case, finding in seen if finding.left},
    )
