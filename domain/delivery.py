"""When an event is tried again, when it is given up, and when a whole endpoint is left in peace."""

from datetime import datetime, timedelta
from enum import StrEnum

HOUR = timedelta(hours=1)
# The schedule that the Standard Webhooks specification gives as its example, and a day from there on.
RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
PAUSE_AFTER = 5
"""So many events that failed with no success between them speak against the endpoint, not against one event."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
JITTER_SHARE = 0.25
MOMENTARY = ("status_408", "status_429")
"""The two 4xx, as errors of an event, that say nothing against it: the receiver was slow, or had too much to do."""


class Verdict(StrEnum):
    """What a receiver's status says."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"


class Delivery(StrEnum):
    """Where an event stands: `none` was never to be delivered, `dead` was given up and can be replayed."""

    NONE = "none"
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


def judge(status: int) -> Verdict:
    """Any 2xx is a receipt; 410 asks not to be called again (RFC 9110 section 15.5.11); a redirect is not followed."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if status == 410 else Verdict.FAILED


def retry_after(attempts: int, jitter: float) -> timedelta:
    """The wait after the n-th failed attempt (from 1), less up to a quarter by `jitter` in [0, 1)."""
    return _spread(RETRIES[min(attempts, len(RETRIES)) - 1], jitter)


def is_dead(first_attempt_at: datetime, now: datetime, patience: timedelta) -> bool:
    """Whether an event that has just failed is given up."""
    return now - first_attempt_at >= patience


def counted(failures: int, attempts: int) -> int:
    """The endpoint's failures in a row after one more, of an event on its n-th attempt.

    Before the endpoint is paused an event counts once: one that is refused again and again says nothing of the rest.
    """
    return failures + 1 if attempts <= 1 or failures >= PAUSE_AFTER else failures


def pause(failures: int, jitter: float) -> timedelta | None:
    """How long to leave the endpoint in peace after that many failures in a row; None: not at all."""
    if failures < PAUSE_AFTER:
        return None
    doubled = FIRST_PAUSE * float(2 ** min(failures - PAUSE_AFTER, 20))
    return _spread(min(doubled, LONGEST_PAUSE), jitter)


def _spread(wait: timedelta, jitter: float) -> timedelta:
    return wait * (1 - JITTER_SHARE * jitter)
