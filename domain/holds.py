"""When nobody but one scout may call as a builder's app: why, how long, and for what the others wait."""

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256


class HoldKind(StrEnum):
    """Why a provider config is held."""

    NONE = ""
    MISCONFIGURED = "misconfigured"
    """The provider refuses the app itself: the operator's failure."""
    OUTAGE = "outage"
    """The provider fails for one life after the other: the moment's failure, of all at once."""


def kind_of(stored: str, held_until: datetime | None) -> HoldKind:
    """The kind of a hold as its row tells it.

    A worker of a version that knew no kinds writes only until when: it held for nothing but a refused app.
    """
    return HoldKind.MISCONFIGURED if not stored and held_until is not None else HoldKind(stored)


STUMBLES_OF_AN_OUTAGE = 5
"""So many lives began to fail without a success between: it is none of theirs."""
SECRET_REPLACED = "client_secret_replaced"
"""Why a config was let go, where no call succeeded yet."""
MISCONFIGURED_PAUSE = timedelta(minutes=1)
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=5)
FALLBACK = timedelta(minutes=30)
FALLBACK_SPREAD = timedelta(minutes=10)
AHEAD_OF_TIME = timedelta(minutes=5)
AHEAD_SPREAD = timedelta(minutes=5)


def pause(kind: HoldKind, tries: int, retry_after: float | None = None) -> timedelta:
    """From a failure to the next scout; `tries` counts the failures of this hold from 1, `retry_after` is in seconds.

    A wrong client secret is looked at every minute; a provider that is down after 15 s, doubling to 5 min, and never
    sooner than it asks for.
    """
    if kind is HoldKind.MISCONFIGURED:
        wait = MISCONFIGURED_PAUSE
    else:
        wait = min(FIRST_PAUSE * float(2 ** min(tries - 1, 20)), LONGEST_PAUSE)
    return max(wait, timedelta(seconds=retry_after or 0))


def is_outage(stumbled: int) -> bool:
    """Whether so many lives that began to fail, without a success between, are the provider's failure."""
    return stumbled >= STUMBLES_OF_AN_OUTAGE


def wait_of(life_id: str, held_until: datetime, now: datetime, due_at: datetime | None = None) -> datetime:
    """Until when a life that finds its config held waits, unless it is woken: long, for the release wakes it.

    One that is not due before `due_at` is not woken by the release, so it waits for that at most, whatever the hold.
    """
    if due_at is None or due_at <= now:
        return max(held_until, now + FALLBACK) + FALLBACK_SPREAD * _share(life_id)
    return min(due_at, now + AHEAD_OF_TIME + AHEAD_SPREAD * _share(life_id))


def _share(life_id: str) -> float:
    """A number in [0, 1) that is a life's own: those that were held together do not come back together."""
    return int.from_bytes(sha256(life_id.encode()).digest()[:4]) / 2**32
