# Append-only: LifeState and what it holds travel through workflow histories; add fields with defaults only.
"""The life of an installation or a connection: its state, the facts that move it, and what is due next.

Transitions are `apply(state, fact, now) -> state`; what is due next is `next_wakeup` in `domain.wakeup`.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from domain.credential import CredentialRef
from domain.schedule import FIRST_BACKOFF, MAX_BACKOFF, backoff, refresh_at


class Kind(StrEnum):
    """What a life is the life of."""

    INSTALLATION = "installation"
    CONNECTION = "connection"


class Status(StrEnum):
    """Where a life stands. `pending` is a life that was never active: only its sessions show it."""

    PENDING = "pending"
    ACTIVE = "active"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"


class AttemptState(StrEnum):
    """Where an attempt at consent stands."""

    PENDING = "pending"
    EXCHANGING = "exchanging"
    AWAITING_SELECTION = "awaiting_selection"
    PENDING_VERIFICATION = "pending_verification"
    COMPLETED = "completed"
    FAILED = "failed"


ENDED = (AttemptState.COMPLETED, AttemptState.FAILED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An open attempt, as the workflow remembers it: the row in the vault is the truth."""

    session_id: str
    state: AttemptState
    deadline: datetime
    retry_at: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class LifeState:
    """All a workflow knows of its life. Small on purpose: it is carried through every continue-as-new."""

    status: Status = Status.PENDING
    reason: str = ""
    credential: CredentialRef | None = None
    refresh_at: datetime | None = None
    failures: int = 0
    last_error: str = ""
    retry_at: datetime | None = None
    held_until: datetime | None = None
    held_reason: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    refresh_wanted: bool = False
    reload: bool = True
    deleting: bool = False
    revoke_at: datetime | None = None
    revoke_failures: int = 0

    @property
    def generation(self) -> int:
        return self.credential.generation if self.credential else 0

    @property
    def health(self) -> str:
        return "degraded" if self.status is Status.ACTIVE and self.failures else "ok"


# --- facts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """The vault's row, read again."""

    status: Status
    reason: str = ""
    credential: CredentialRef | None = None
    attempts: list[Attempt] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    held_until: datetime | None = None
    held_reason: str = ""
    deleting: bool = False
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Credentialed:
    """A credential was committed: by a refresh, a consent, or somebody else before us."""

    credential: CredentialRef
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The user's failure: the grant is dead."""

    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """The operator's failure: nothing is tried before `until`, and the connection is not blamed."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Stumbled:
    """The moment's failure. `not_before` is the provider's Retry-After or the end of somebody's lease."""

    error: str
    not_before: datetime | None = None
    counted: bool = True
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class AttemptMoved:
    """An attempt reached another state; `deadline` is when it ends by itself."""

    session_id: str
    state: AttemptState
    deadline: datetime


@dataclass(frozen=True, slots=True)
class AttemptStumbled:
    """A moment's failure of an attempt; the life itself is not touched."""

    session_id: str
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Revoked:
    """Deleted by our side, its secret destroyed. The end."""


@dataclass(frozen=True, slots=True)
class RevocationStumbled:
    """The provider could not be told yet; it is tried again."""

    jitter: float = 0.0


Fact = Loaded | Credentialed | Refused | Held | Stumbled | AttemptMoved | AttemptStumbled | Revoked | RevocationStumbled


def apply(state: LifeState, fact: Fact, now: datetime) -> LifeState:
    """The state after `fact`. A credential older than the one that is known changes nothing (law 2)."""
    match fact:
        case Loaded():
            return _loaded(state, fact, now)
        case Credentialed():
            return _credentialed(state, fact)
        case Refused(reason=reason):
            return replace(_settled(state), status=Status.NEEDS_REAUTH, reason=reason, refresh_at=None)
        case Held(until=until, reason=reason):
            return replace(state, held_until=until, held_reason=reason, last_error=reason, refresh_wanted=False)
        case Stumbled():
            return _stumbled(state, fact, now)
        case AttemptMoved():
            return _attempt_moved(state, fact, now)
        case AttemptStumbled():
            return _attempt_stumbled(state, fact, now)
        case Revoked():
            return replace(_settled(state), status=Status.REVOKED, deleting=False, attempts=[], returned=[])
        case RevocationStumbled(jitter=jitter):
            count = state.revoke_failures + 1
            return replace(state, revoke_failures=count, revoke_at=now + backoff(count, jitter))


def _settled(state: LifeState) -> LifeState:
    return replace(state, failures=0, last_error="", retry_at=None, refresh_wanted=False, reason="")


def _loaded(state: LifeState, fact: Loaded, now: datetime) -> LifeState:
    kept = {a.session_id: a for a in state.attempts}
    attempts = [
        replace(a, retry_at=k.retry_at, failures=k.failures) if (k := kept.get(a.session_id)) else a
        for a in fact.attempts
    ]
    open_ = {a.session_id for a in fact.attempts}
    loaded = replace(
        state,
        status=fact.status,
        reason=fact.reason,
        attempts=attempts,
        returned=[s for s in dict.fromkeys([*state.returned, *fact.returned]) if s in open_],
        held_until=fact.held_until,
        held_reason=fact.held_reason,
        # A tombstone signalled while the row was being read may be newer than what was read.
        deleting=state.deleting or fact.deleting,
        reload=False,
    )
    if fact.credential is None or fact.credential.generation == state.generation:
        return loaded
    known = replace(loaded, credential=fact.credential, failures=0, retry_at=None, last_error="")
    return (
        replace(known, refresh_at=refresh_at(fact.credential, fact.jitter)) if fact.status is Status.ACTIVE else known
    )


def _credentialed(state: LifeState, fact: Credentialed) -> LifeState:
    if fact.credential.generation < state.generation:
        return replace(state, refresh_wanted=False)
    return replace(
        _settled(state),
        status=Status.ACTIVE,
        credential=fact.credential,
        refresh_at=refresh_at(fact.credential, fact.jitter),
        held_until=None,
        held_reason="",
    )


def _stumbled(state: LifeState, fact: Stumbled, now: datetime) -> LifeState:
    failures = state.failures + 1 if fact.counted else state.failures
    retry = now + (backoff(failures, fact.jitter) if fact.counted else _waiting(fact))
    return replace(
        state,
        failures=failures,
        last_error=fact.error,
        retry_at=max(retry, fact.not_before or retry),
        refresh_wanted=False,
    )


def _waiting(fact: Stumbled) -> timedelta:
    """The least pause of a wait: a worker's clock may lag behind the engine's, so what is over by ours gets one too."""
    return FIRST_BACKOFF if fact.not_before else MAX_BACKOFF


def _attempt_moved(state: LifeState, fact: AttemptMoved, now: datetime) -> LifeState:
    others = [a for a in state.attempts if a.session_id != fact.session_id]
    # Still open after its end by our clock: the worker's lags behind, and it is asked again after a pause.
    pause = now + FIRST_BACKOFF if fact.deadline <= now else None
    open_ = [] if fact.state in ENDED else [Attempt(fact.session_id, fact.state, fact.deadline, pause)]
    returned = [s for s in state.returned if s != fact.session_id]
    return replace(state, attempts=others + open_, returned=returned)


def _attempt_stumbled(state: LifeState, fact: AttemptStumbled, now: datetime) -> LifeState:
    if all(a.session_id != fact.session_id for a in state.attempts):
        return replace(state, reload=True)
    return replace(
        state,
        attempts=[
            replace(a, failures=a.failures + 1, retry_at=now + backoff(a.failures + 1, fact.jitter))
            if a.session_id == fact.session_id
            else a
            for a in state.attempts
        ],
    )
