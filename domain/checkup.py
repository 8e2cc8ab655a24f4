"""A check-up: whether a connection still works, asked before its user meets it. When, and what the answers mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.oauth.failures import Failure, ProbeResult

DEFAULT_INTERVAL = timedelta(hours=6)
SPREAD = 0.1
# A directory may lag behind its own changes: what it says against a connection counts once it has been said twice.
SECOND_LOOK = timedelta(minutes=1)
# An API that neither accepts nor refuses for so long has another reason than this token.
MOST_TRIES = 6
UNSURE_AGAIN = timedelta(minutes=15)
# Something that is merely missing from an answer is believed after so long.
LONG_DOUBT = timedelta(hours=1)
OF_ALL = 3
"""The same doubt about so many tenants at once is about the provider."""

TOKEN_REFUSED = "token_refused"
SITE_LOST = "site_lost"
SCOPES_LOST = "scopes_lost"
UNCLEAR = "probe_unclear"
UNREACHABLE = "probe_failed"
ITS_TURN = "waits_its_turn"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the provider said. `scopes` are those it still grants, None where it does not tell."""

    result: ProbeResult
    doubt: str = ""
    """Why the connection is not well: empty, TOKEN_REFUSED, SITE_LOST, SCOPES_LOST or UNCLEAR."""
    explicit: bool = True
    """Whether it said so, rather than leaving something out of an answer."""
    scopes: tuple[str, ...] | None = None


def next_checkup(now: datetime, interval: timedelta, jitter: float) -> datetime:
    """One interval away, up to a tenth earlier or later by `jitter` in [0, 1)."""
    return now + interval * (1 - SPREAD + 2 * SPREAD * jitter)


def unclear(failure: Failure | None) -> bool:
    """Whether a probe without a verdict is about this connection: a 4xx is, an overload or a silence is not."""
    status = failure.status if failure else None
    return status is not None and 400 <= status < 500 and status != 429


def still_granted(
    token: Sequence[str] | None, listed_once: Sequence[str], listed: Sequence[str]
) -> tuple[str, ...] | None:
    """The token's scopes, less those that its site listed when the consent was given and lists no more.

    A scope that the site never listed is none of its business; a site that lists none does not tell. None where the
    token's answer did not say either.
    """
    if token is None:
        return None
    return tuple(scope for scope in token if not listed or scope not in listed_once or scope in listed)


def lost(agreed: Sequence[str] | None, now_granted: Sequence[str] | None) -> list[str]:
    """What of the agreed scopes is granted no more."""
    return [] if agreed is None or now_granted is None else [scope for scope in agreed if scope not in now_granted]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for believing a doubt.

    `explicit`: the provider said it of this connection, rather than keeping silent about it. `vouched`: another
    connection of the app was found well since. `tenants`: of how many the same is doubted just now.
    """

    explicit: bool
    vouched: bool
    tenants: int


def look_again_at(since: datetime | None, now: datetime, evidence: Evidence) -> datetime | None:
    """When to look again before a doubt is believed, which arose at `since` (None: just now); None: believe it.

    What befalls several tenants at once, while none is found well, is the provider's trouble and nobody's end.
    """
    if since is None or now < since + SECOND_LOOK:
        return (since or now) + SECOND_LOOK
    if evidence.vouched:
        return None
    if evidence.tenants >= OF_ALL:
        return now + UNSURE_AGAIN
    return None if evidence.explicit or now >= since + LONG_DOUBT else now + UNSURE_AGAIN
