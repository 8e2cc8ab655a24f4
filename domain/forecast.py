"""When a consent will end by itself, as far as the provider lets it be known, and when to say so."""

from dataclasses import dataclass
from datetime import datetime, timedelta

NOTICE_DAYS = (14, 3, 1)

INACTIVITY = "inactivity"
ABSOLUTE_LIFETIME = "absolute_lifetime"
NO_REFRESH_TOKEN = "no_refresh_token"
CLIENT_SECRET = "client_secret"


@dataclass(frozen=True, slots=True)
class Lifespan:
    """How long a provider lets a consent live, in days. A doubt says why a limit may not hold."""

    inactivity_days: int | None = None
    """Without a refresh."""
    inactivity_doubt: str = ""
    absolute_days: int | None = None
    """From the consent, whatever is done."""
    absolute_doubt: str = ""
    client_secret_days: int | None = None
    """From its creation."""
    client_secret_doubt: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """When a consent ends. `since` is when that span began; `doubt` is empty where the end is certain."""

    at: datetime
    since: datetime
    reason: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """So many days ahead of the end."""

    days: int
    end: End


def end_of(
    lifespan: Lifespan, *, consented_at: datetime, issued_at: datetime, expires_at: datetime | None, refreshable: bool
) -> End | None:
    """The earliest end that is known of, or None. One that cannot be refreshed ends with its token."""
    ends = []
    if not refreshable and expires_at is not None:
        ends.append(End(expires_at, issued_at, NO_REFRESH_TOKEN))
    if lifespan.absolute_days is not None:
        at = consented_at + timedelta(days=lifespan.absolute_days)
        ends.append(End(at, consented_at, ABSOLUTE_LIFETIME, lifespan.absolute_doubt))
    if refreshable and lifespan.inactivity_days is not None:
        at = issued_at + timedelta(days=lifespan.inactivity_days)
        ends.append(End(at, issued_at, INACTIVITY, lifespan.inactivity_doubt))
    return min(ends, key=lambda end: end.at, default=None)


def notice_due(end: End | None, noticed_days: int, now: datetime) -> Notice | None:
    """The notice to give now; `noticed_days` is the last one given, 0 for none. Of late ones the last alone."""
    if end is None or now >= end.at:
        return None
    due = [days for days in _ahead_of(end, noticed_days) if now >= end.at - timedelta(days=days)]
    return Notice(min(due), end) if due else None


def next_notice_at(end: End | None, noticed_days: int, now: datetime) -> datetime | None:
    """When the next notice is due, after those that are due by now."""
    if end is None:
        return None
    ahead = [end.at - timedelta(days=days) for days in _ahead_of(end, noticed_days)]
    return min((at for at in ahead if at > now), default=None)


def forgotten(end: End | None, noticed_days: int, now: datetime) -> int:
    """`noticed_days` once more, 0 if the end has moved on since the last notice."""
    moved = end is None or now < end.at - timedelta(days=noticed_days)
    return 0 if moved else noticed_days


def _ahead_of(end: End, noticed_days: int) -> list[int]:
    """The notices that are still to come; none that would be older than what it speaks of."""
    whole = end.at - end.since
    return [days for days in NOTICE_DAYS if timedelta(days=days) < whole and (not noticed_days or days < noticed_days)]
