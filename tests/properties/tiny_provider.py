"""A rotating provider and a vault in a few lines: what the pure decisions are tried against, at no cost."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from domain.credential import CredentialRef
from domain.ledger import Rule, Send, rule_on
from domain.life import Credentialed, Fact, Held, Loaded, Refused, Status, Stumbled
from domain.serving import Reading

LIFETIME = timedelta(hours=1)
LEASE = timedelta(seconds=30)
HOLD = timedelta(minutes=1)
PROBE_EVERY = timedelta(minutes=1)


class Mood(StrEnum):
    """How the next call at the token endpoint goes."""

    ANSWERS = "answers"
    LOST = "handled, and the answer is lost"
    CUT = "cut before it was handled"
    LIMITED = "too many requests"
    APP_REFUSED = "the app is refused"
    CRASH_BEFORE = "the worker dies before sending"
    CRASH_AFTER = "the worker dies with the answer in hand"


HANDLED = (Mood.ANSWERS, Mood.LOST, Mood.CRASH_AFTER)


@dataclass
class Provider:
    """Refresh tokens are numbers; only the newest may be used, or an older one within `window` of its first use."""

    window: timedelta
    newest: int = 0
    first_use: dict[int, datetime] = field(default_factory=dict)
    ended: str = ""

    def consent(self) -> int:
        self.ended = ""
        return self._issue()

    def refresh(self, token: int, now: datetime) -> int | None:
        """The next refresh token, or None: refused. Reuse ends the grant."""
        used = self.first_use.setdefault(token, now)
        if not self.ended and used < now and now - used >= self.window:
            self.ended = "reused"
        return None if self.ended else self._issue()

    def renews(self, token: int, now: datetime) -> bool:
        return not self.ended and (token not in self.first_use or now - self.first_use[token] < self.window)

    def _issue(self) -> int:
        self.newest += 1
        return self.newest


@dataclass
class Vault:
    """The rows of one life, and what the refresh activity does to them."""

    provider: Provider
    now: datetime
    status: Status = Status.PENDING
    reason: str = ""
    deleted: bool = False
    credential: CredentialRef | None = None
    token: int = 0
    refused_at: datetime | None = None
    held_until: datetime | None = None
    last_error: str = ""
    generations: int = 0
    sends: list[Send] = field(default_factory=list)

    def consent(self) -> CredentialRef:
        self.token, self.sends = self.provider.consent(), []
        self.status, self.reason, self.last_error = Status.ACTIVE, "", ""
        return self._commit(self.now)

    def load(self, jitter: float) -> Loaded:
        held = self.held_until if self.held_until and self.held_until > self.now else None
        return Loaded(
            self.status,
            self.reason,
            self.credential,
            held_until=held,
            deleting=self.deleted,
            jitter=jitter,
            in_doubt_until=max((send.lease_until for send in self.sends), default=None),
        )

    def reading(self) -> Reading:
        assert self.credential is not None
        ref = self.credential
        return Reading(self.status, ref.issued_at, ref.expires_at, True, self.refused_at, self.last_error)

    def accepted(self, after: timedelta = timedelta(0)) -> bool:
        """Whether the provider accepts the access token now, and will after so long."""
        ref = self.credential
        if ref is None or ref.expires_at is None or self.provider.ended:
            return False
        return self.now + after < ref.expires_at

    def refresh(self, known: int, mood: Mood, jitter: float) -> Fact | None:
        """What the workflow hears; None: that it has to read the row again."""
        if self.deleted or self.status is not Status.ACTIVE or self.credential is None:
            return None
        if self.credential.generation > known:
            return Credentialed(self.credential, jitter)
        if self.held_until and self.held_until > self.now:
            return Held(self.held_until, "client_refused")
        return self._by_the_ledger(self.credential.expires_at, mood, jitter)

    def _by_the_ledger(self, expires_at: datetime | None, mood: Mood, jitter: float) -> Fact | None:
        ruling = rule_on(self.sends, self.now, window=self.provider.window, expires_at=expires_at)
        if ruling.rule is Rule.WAIT:
            return Stumbled("in_doubt", ruling.until, counted=False, jitter=jitter)
        if ruling.rule is Rule.PROBE:
            if not self.accepted():
                self.refused_at = self.now
                return self._by_the_ledger(self.now, mood, jitter)
            later = self.now + PROBE_EVERY
            return Stumbled("in_doubt", min(later, expires_at or later), counted=False, jitter=jitter)
        return self._send(ruling.rule, mood, jitter)

    def _send(self, rule: Rule, mood: Mood, jitter: float) -> Fact | None:
        self._is_no_careless_replay()
        self.generations += 1
        self.sends.append(Send(self.now, self.now + LEASE))
        renewed = self.provider.refresh(self.token, self.now) if mood in HANDLED else None
        if mood in (Mood.CRASH_BEFORE, Mood.CRASH_AFTER):
            return Stumbled("no_worker_result", jitter=jitter)
        if mood is Mood.ANSWERS:
            return self._answered(renewed, rule, jitter)
        if mood is Mood.APP_REFUSED:
            self.sends.pop()
            self.held_until = self.now + HOLD
            return Held(self.held_until, "client_refused")
        if mood is Mood.LIMITED:
            self.sends.pop()
            return self._stumbled("rate_limited", jitter, self.now + timedelta(seconds=90))
        self.sends[-1] = replace(self.sends[-1], lease_until=self.now)
        return self._stumbled("no_answer", jitter)

    def _is_no_careless_replay(self) -> None:
        used = self.provider.first_use.get(self.token)
        inside = used is not None and self.now - used < self.provider.window
        over = not self.accepted()
        assert used is None or inside or over, "sent again outside the window rule"

    def _answered(self, renewed: int | None, rule: Rule, jitter: float) -> Fact:
        self.sends = []
        if renewed is None:
            self.status = Status.NEEDS_REAUTH
            self.reason = "rotation_lost" if rule is Rule.RESEND else "grant_revoked"
            return Refused(self.reason)
        self.token, self.held_until, self.last_error = renewed, None, ""
        return Credentialed(self._commit(self.now), jitter)

    def _stumbled(self, code: str, jitter: float, not_before: datetime | None = None) -> Fact:
        self.last_error = code
        return Stumbled(code, not_before, jitter=jitter)

    def _commit(self, sent_at: datetime) -> CredentialRef:
        self.generations += 1
        self.refused_at = None
        self.credential = CredentialRef(self.generations, sent_at, sent_at + LIFETIME, refreshable=True)
        return self.credential
