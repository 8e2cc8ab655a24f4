"""When to refresh, and how long to wait after a failure."""

from datetime import datetime, timedelta

from domain.credential import CredentialRef

MAX_LEAD = timedelta(minutes=10)
LEAD_SHARE = 0.20
JITTER_SHARE = 0.10

FIRST_BACKOFF = timedelta(seconds=1)
MAX_BACKOFF = timedelta(minutes=5)


def refresh_at(credential: CredentialRef, jitter: float) -> datetime | None:
    """When to refresh, or None if it never ends. `jitter` in [0, 1) spreads connections that share an expiry.

    The lead before expiry is 20 % of the token's life, at most 10 minutes; jitter makes it earlier by at most 10 % of
    the life. So a wake is never before half the life and never after expiry.
    A credential that cannot be refreshed is due at its end: then it is known to be dead.
    """
    if credential.expires_at is None:
        return None
    if not credential.refreshable:
        return credential.expires_at
    life = credential.expires_at - credential.issued_at
    lead = min(MAX_LEAD, life * LEAD_SHARE)
    return credential.expires_at - lead - life * JITTER_SHARE * jitter


def backoff(failures: int, jitter: float) -> timedelta:
    """The wait after the n-th failure in a row: 1 s doubling to 5 min, less up to a quarter by `jitter` in [0, 1)."""
    doubled = FIRST_BACKOFF * float(2 ** min(failures - 1, 20))
    return min(doubled, MAX_BACKOFF) * (1 - 0.25 * jitter)
