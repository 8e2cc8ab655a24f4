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
    """Why the connection is not well: empty, SITE_LOST, SCOPES_LOST or UNCLEAR."""
    scopes: tuple[str, ...] | None = None


def next_checkup(now: datetime, interval: timedelta, jitter: float) -> datetime:
    """One interval away, up to a tenth earlier or later by `jitter` in [0, 1)."""
    return now + interval * (1 - SPREAD + 2 * SPREAD * jitter)


def unclear(failure: Failure | None) -> bool:
    """Whether a probe without a verdict is about this connection: a 4xx is, an overload or a silence is not."""
    status = failure.status if failure else None
    return status is not None and 400 <= status < 500 and status != 429


def still_granted(
    token: Sequence[str] | None, site: Sequence[str], site_tells: bool, unlisted: Sequence[str]
) -> tuple[str, ...] | None:
    """The scopes of the token that its site grants too; `unlisted` are those that no site's list ever names.

    None where neither the token's answer nor the site said anything of scopes.
    """
    if token is None:
        return None
    kept = [scope for scope in token if not site_tells or scope in site or scope in unlisted]
    return tuple(kept)


def lost(agreed: Sequence[str] | None, now_granted: Sequence[str] | None) -> list[str]:
    """What of the agreed scopes is granted no more."""
    return [] if agreed is None or now_granted is None else [scope for scope in agreed if scope not in now_granted]


def second_look_at(known_doubt: str, doubt: str, probed_at: datetime | None, now: datetime) -> datetime | None:
    """When to look again before `doubt` is believed; None: this was the second look."""
    if known_doubt != doubt or probed_at is None:
        return now + SECOND_LOOK
    again = probed_at + SECOND_LOOK
    return again if now < again else None
