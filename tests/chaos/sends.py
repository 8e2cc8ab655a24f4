"""Was a refresh token sent twice where it may not be? Judged twice: from the provider's record and from the ledger.

Written anew from the rule, not with the product's own function: a judge that shares a mistake finds none.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MARGIN = 30.0
"""Seconds by which we end a replay window earlier than the provider does."""
LEEWAY = 2.0
"""Seconds that a request may be on its way: our expiry counts from its sending, the provider's from its arrival."""


@dataclass(frozen=True, slots=True)
class Presented:
    """One refresh token at the provider: when it came, what came of it, and how long its access token lived."""

    token: str
    provider: str
    uses: Sequence[tuple[float, str]]
    """Time and outcome, as the provider names them: rotated, replayed, reused, ended, …"""
    access_until: float


def offends(presented: Presented) -> bool:
    """Whether it was sent again outside the window rule.

    The provider calls it `reused` when a rotated token comes again outside of its window, if it has one. Without a
    window that is the rule's last resort, allowed once the access token beside it has expired.
    """
    again = [at for at, outcome in presented.uses if outcome == "reused"]
    windowed = presented.provider == "jira"
    return bool(again) and (windowed or min(again) < presented.access_until - LEEWAY)


@dataclass(frozen=True, slots=True)
class Sent:
    """One row of the ledger, times in seconds; `settled_at` is when the answer was known, None: never."""

    life_id: str
    fingerprint: str
    started_at: float
    lease_until: float
    settled_at: float | None
    outcome: str


def sent_twice(ledger: Iterable[Sent], window: float) -> list[Sent]:
    """The sends that went out against the rule: during another's lease, or in doubt after the window had ended.

    `window` is the provider's in seconds, 0 for none; then only the leases can be judged from here.
    """
    by_token: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for sent in ledger:
        if sent.outcome != "not_sent":
            by_token[sent.life_id, sent.fingerprint].append(sent)
    found = []
    for sends in by_token.values():
        sends.sort(key=lambda sent: sent.started_at)
        found += [sent for place, sent in enumerate(sends) if _against(sent, sends[:place], window)]
    return found


def _against(sent: Sent, before: Sequence[Sent], window: float) -> bool:
    doubts = [b for b in before if b.settled_at is None or b.settled_at > sent.started_at]
    if not doubts:
        return False
    leased = any(sent.started_at < doubt.lease_until for doubt in doubts)
    late = bool(window) and sent.started_at >= doubts[0].started_at + window - MARGIN
    return leased or late


def first_in_doubt(ledger: Iterable[Sent], life_id: str) -> Sent | None:
    """The send with which a lost grant was lost: the first of the last token that was sent more than once."""
    mine = sorted((s for s in ledger if s.life_id == life_id), key=lambda sent: sent.started_at)
    return next((s for s in mine if mine and s.fingerprint == mine[-1].fingerprint), None)


def told(sent: Sent, ledger: Iterable[Sent], began: float) -> str:
    """All sends of the token of `sent`, for the eye: from when to the end of its lease, when it was settled, and how.

    Times are seconds since `began`.
    """
    same = [s for s in ledger if (s.life_id, s.fingerprint) == (sent.life_id, sent.fingerprint)]
    return f"{sent.life_id}: " + "; ".join(_row(s, began) for s in sorted(same, key=lambda s: s.started_at))


def _row(sent: Sent, began: float) -> str:
    settled = f"{sent.outcome} at {sent.settled_at - began:.1f}" if sent.settled_at else "never settled"
    return f"{sent.started_at - began:.1f}-{sent.lease_until - began:.1f} s, {settled}"
