"""May a refresh token be sent (again)? The rule of the refresh ledger, as one pure function (law 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW_MARGIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Send:
    """One unresolved attempt at the token endpoint: sent, perhaps handled, answer unknown."""

    started_at: datetime
    lease_until: datetime


class Rule(StrEnum):
    """What the ledger allows."""

    SEND = "send"
    REPLAY = "replay"
    """Again inside the window: the provider answers as if it were the first time."""
    RESEND = "resend"
    """Again without a window: if the first one was handled, its answer is lost and so is the grant."""
    WAIT = "wait"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rule that applies; `until` is when a WAIT ends."""

    rule: Rule
    until: datetime | None = None


def rule_on(unresolved: Sequence[Send], now: datetime, *, window: timedelta, expires_at: datetime | None) -> Ruling:
    """Decide from the unresolved sends of one refresh token.

    Nobody sends while another attempt's lease lasts. Inside the provider's replay window, counted from the first
    unresolved send less 30 s, the same token is sent again. Without a window, or after it, the old access token is
    probed and served while it works; only when it has expired or was refused is the token sent again, and then
    only the provider's own answer concludes anything.
    """
    if not unresolved:
        return Ruling(Rule.SEND)
    leased = max(send.lease_until for send in unresolved)
    if now < leased:
        return Ruling(Rule.WAIT, leased)
    first = min(send.started_at for send in unresolved)
    if now < first + window - WINDOW_MARGIN:
        return Ruling(Rule.REPLAY)
    if expires_at is None or now < expires_at:
        return Ruling(Rule.PROBE, expires_at)
    return Ruling(Rule.RESEND)
