"""How a workflow that runs once a day calls the one activity that it is."""

from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityConfig

# A store of a million lives, or an old vault the first time, takes hours; the next day's must not find it running.
ONE_TRY = timedelta(hours=12)
ALL_TRIES = timedelta(hours=20)
# The worker beats every few seconds, but it may be at its busiest just now.
HEARTBEAT = timedelta(seconds=30)
RETRY = RetryPolicy(initial_interval=timedelta(seconds=5), backoff_coefficient=2, maximum_interval=timedelta(minutes=5))


def long(summary: str) -> ActivityConfig:
    """Hours in all, given up by a worker that ends and taken up by another."""
    return ActivityConfig(
        start_to_close_timeout=ONE_TRY,
        schedule_to_close_timeout=ALL_TRIES,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=RETRY,
        summary=summary,
    )
