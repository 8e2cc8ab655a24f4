"""What counts as what: pure, so that the figures can be trusted before a run is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.plan import KILLS, LOSES, Blow


class Fetch(StrEnum):
    """How one fetch of a credential came out."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LEFT_OUT = "revoked by the test"
    """Answered 200, but the test had revoked the grant by the time the token was used: says nothing about us."""
    UNJUDGED = "not judged"
    """Answered 200, and the provider gave no verdict on the token."""
    CONFLICT = "honest 409"
    UNAVAILABLE = "honest 503"
    NO_CONNECTION = "connection errors"
    OTHER = "other answers"


SERVED = (Fetch.ACCEPTED, Fetch.REFUSED, Fetch.LEFT_OUT, Fetch.UNJUDGED)
HONEST = {
    (409, "needs_reauth"): Fetch.CONFLICT,
    (503, "refresh_pending"): Fetch.UNAVAILABLE,
    (503, "database_unavailable"): Fetch.UNAVAILABLE,
    (503, "temporal_unavailable"): Fetch.UNAVAILABLE,
}
"""Answers that say what is so and what to do. A 404 for a connection that lives, or a 500, is none."""
REFUSALS = (401, 403, 404)
"""What an API answers to a token that it does not take."""


def unserved(status: int, code: str) -> Fetch:
    """What an answer other than 200 counts as."""
    return HONEST.get((status, code), Fetch.OTHER)


def served(status: int | None, *, revoked: bool) -> Fetch:
    """What a 200 counts as, from the provider's answer to its token (None: no answer came)."""
    if revoked:
        return Fetch.LEFT_OUT
    if status in REFUSALS:
        return Fetch.REFUSED
    return Fetch.ACCEPTED if status == 200 else Fetch.UNJUDGED


@dataclass
class Tally:
    """All fetches of a run.

    A refresh does not end the access token before it: at both providers that one lives out its time, so a token that
    was read just before a rotation is good, and is asked to be accepted. The one honest reason for a refusal would be
    a token that expired on its way from our answer to the provider; the answer names that moment. Such a refusal is
    counted as one all the same (a backend cannot use the token either), and told apart in `stale`.
    """

    kinds: Counter[Fetch] = field(default_factory=Counter)
    unavailable: Counter[str] = field(default_factory=Counter)
    """Honest 503s by code."""
    others: Counter[str] = field(default_factory=Counter)
    """Status and code of what was neither served nor honest."""
    stale: int = 0

    @property
    def fetches(self) -> int:
        return self.kinds.total()

    @property
    def answered_200(self) -> int:
        return sum(self.kinds[kind] for kind in SERVED)

    @property
    def share(self) -> float | None:
        """Of the tokens that the provider judged, those it accepted; None if it judged none."""
        judged = self.kinds[Fetch.ACCEPTED] + self.kinds[Fetch.REFUSED]
        return self.kinds[Fetch.ACCEPTED] / judged if judged else None


class Fate(StrEnum):
    """What became of one connection."""

    LIVES = "lives"
    REVOKED = "revoked by the test"
    NEEDLESS = "needs_reauth although its grant lives"
    LOST = "lost although it lived"
    UNNOTICED = "dead, and still called active"


@dataclass(frozen=True, slots=True)
class End:
    """How one connection stood at the end, with us and at the provider."""

    life_id: str
    provider: str
    status: str
    alive: bool
    """Whether the provider would still honour its refresh token."""
    revoked: bool
    """Whether the test took the grant away, from this connection or from one that shares it."""


def fate(end: End) -> Fate:
    """A grant whose refresh token the provider no longer takes, and that nobody revoked, is lost, said or unsaid."""
    if end.revoked:
        return Fate.REVOKED if end.status == "needs_reauth" else Fate.UNNOTICED
    if not end.alive:
        return Fate.LOST
    return Fate.NEEDLESS if end.status == "needs_reauth" else Fate.LIVES


def cause(sent_at: float | None, provider: str, blows: Iterable[Blow], within: float) -> Blow | None:
    """The blow that made a send's outcome unknown: a fault of its provider before it, or a kill while it was under way.

    `within`: seconds a send can be under way. The nearest one is meant.
    """
    if sent_at is None:
        return None
    kills = [b for b in blows if b.kind in KILLS and -within <= sent_at - b.at <= b.seconds + 1]
    faults = [b for b in blows if b.kind in LOSES and b.provider == provider and b.at <= sent_at]
    near = [(abs(sent_at - b.at), b) for b in (*kills, *faults)]
    return min(near, key=lambda pair: pair[0])[1] if near else None


@dataclass
class Gaps:
    """How long connections that live were without a valid credential, from looks at the vault every second or so."""

    longest: float = 0
    whose: str = ""
    _expired: dict[str, float] = field(default_factory=dict)

    def look(self, rows: Iterable[tuple[str, str, float, float]], now: float) -> None:
        """Rows are (id, status, expires_at, issued_at), in seconds; a credential counts from when it was asked for.

        One that ends in needs_reauth is no gap but an end.
        """
        for life_id, status, expires_at, issued_at in rows:
            if status != "active":
                self._expired.pop(life_id, None)
            elif expires_at <= now:
                self._expired[life_id] = expires_at
            elif life_id in self._expired:
                self._note(life_id, issued_at - self._expired.pop(life_id))

    def _note(self, life_id: str, seconds: float) -> None:
        if seconds > self.longest:
            self.longest, self.whose = seconds, life_id

    @property
    def now_without(self) -> Sequence[str]:
        """Those that had none at the last look."""
        return sorted(self._expired)
