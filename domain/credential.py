# Append-only: CredentialRef travels through workflow histories; add fields with defaults, never rename, remove or
# change a default.
"""What may be said about a credential without saying the credential."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FRESH_FLOOR = timedelta(seconds=30)
FRESH_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class CredentialRef:
    """A generation of a credential: when it was issued, when it ends (None: never), whether it can be refreshed."""

    generation: int
    issued_at: datetime
    expires_at: datetime | None = None
    refreshable: bool = False
    scopes: list[str] | None = None

    def for_workflow(self) -> "CredentialRef":
        """Without the scopes: no workflow decides by them, and each refresh would write them into its history."""
        return replace(self, scopes=None)


def is_fresh(issued_at: datetime, expires_at: datetime | None, now: datetime) -> bool:
    """Whether a generation is too young to be refreshed again: under 30 s or 10 % of its life, whichever is less."""
    return now < refreshable_from(issued_at, expires_at)


def refreshable_from(issued_at: datetime, expires_at: datetime | None) -> datetime:
    """When a generation is old enough to be refreshed because somebody asks for it."""
    return issued_at + default_min_ttl(issued_at, expires_at)


def default_min_ttl(issued_at: datetime, expires_at: datetime | None) -> timedelta:
    """The life a reader gets at least when it names none: 30 s, or 10 % of the token's life if that is less."""
    if expires_at is None:
        return FRESH_FLOOR
    return min(FRESH_FLOOR, (expires_at - issued_at) * FRESH_SHARE)
