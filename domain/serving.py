"""What a reader gets (law 5): a pure decision over the projection of one life."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.credential import default_min_ttl, is_fresh
from domain.life import Status

LAST_MOMENT = timedelta(seconds=2)
LAST_SHARE = 0.05


class Verdict(StrEnum):
    """How a read ends, or that it has to wait for a refresh first."""

    SERVE = "serve"
    REFRESH_FIRST = "refresh_first"
    PENDING = "refresh_pending"
    NEEDS_REAUTH = "needs_reauth"
    NOT_CONNECTED = "not_connected"


@dataclass(frozen=True, slots=True)
class Reading:
    """The facts a read decides on."""

    status: Status
    issued_at: datetime
    expires_at: datetime | None
    refreshable: bool
    refused_at: datetime | None = None
    failing: str = ""

    def usable(self, now: datetime) -> bool:
        """Whether nobody refused it and it outlives its way to the provider: the last 2 s, or 5 %, count as ended."""
        return self.refused_at is None and (self.expires_at is None or now < self.expires_at - self._last_moment())

    def patience(self, now: datetime, most: timedelta) -> timedelta:
        """How long a refresh is waited for: a credential that is good still is not waited to death."""
        if self.expires_at is None or not self.usable(now):
            return most
        return min(most, (self.expires_at - self._last_moment() - now) / 2)

    def _last_moment(self) -> timedelta:
        if self.expires_at is None:
            return timedelta(0)
        return min(LAST_MOMENT, (self.expires_at - self.issued_at) * LAST_SHARE)


@dataclass(frozen=True, slots=True)
class Served:
    """A verdict with the warnings a reader should see."""

    verdict: Verdict
    needs_reauth: bool = False
    warnings: tuple[str, ...] = ()


def serve(reading: Reading, now: datetime, *, min_ttl: timedelta | None = None, force: bool = False) -> Served:
    """Serve at once if the credential lives for `min_ttl`; ask for a refresh only if that can help."""
    if reading.status is Status.NEEDS_REAUTH:
        return _reauth(reading, now)
    if reading.status is not Status.ACTIVE:
        return Served(Verdict.NOT_CONNECTED)
    if (force or not _lives(reading, now, min_ttl)) and _refresh_helps(reading, now):
        return Served(Verdict.REFRESH_FIRST)
    return after_waiting(reading, now, min_ttl=min_ttl)


def after_waiting(reading: Reading, now: datetime, *, min_ttl: timedelta | None = None) -> Served:
    """The answer when waiting is over: what is unexpired is served with a warning, what is not is not (semantics)."""
    if reading.status is Status.NEEDS_REAUTH:
        return _reauth(reading, now)
    if reading.status is not Status.ACTIVE:
        return Served(Verdict.NOT_CONNECTED)
    if not reading.usable(now):
        return Served(Verdict.PENDING)
    return Served(Verdict.SERVE, warnings=_warnings(reading, now, min_ttl))


def _reauth(reading: Reading, now: datetime) -> Served:
    if not reading.usable(now):
        return Served(Verdict.NEEDS_REAUTH)
    return Served(Verdict.SERVE, needs_reauth=True, warnings=("needs_reauth",))


def _lives(reading: Reading, now: datetime, min_ttl: timedelta | None) -> bool:
    if not reading.usable(now):
        return False
    wanted = default_min_ttl(reading.issued_at, reading.expires_at) if min_ttl is None else min_ttl
    return reading.expires_at is None or reading.expires_at - now >= wanted


def _refresh_helps(reading: Reading, now: datetime) -> bool:
    if not reading.refreshable:
        return False
    return not reading.usable(now) or not is_fresh(reading.issued_at, reading.expires_at, now)


def _warnings(reading: Reading, now: datetime, min_ttl: timedelta | None) -> tuple[str, ...]:
    warnings = [] if _lives(reading, now, min_ttl) else ["min_ttl_not_met"]
    return (*warnings, "refresh_failing") if reading.failing else tuple(warnings)
